"""The whole picture as one module: ControlNet, U-Net, the one step and the decoder.

Every backend runs this module and nothing else, so they can only differ in how, never in what.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pipelines.sampler import OneStep


class PaintGraph(nn.Module):
    """``forward(control, noise, embeddings, scale) -> pictures``, each sample of the batch with its own settings.

    ``control`` B×3×H×W in [0, 1] in the polarity the ControlNet was trained with; ``noise`` B×C×h×w, the standard
    normal x_T; ``embeddings`` B×L×D; ``scale`` B, the conditioning scales. Pictures are B×3×H×W in [0, 1].
    """

    def __init__(self, *, unet: Any, controlnet: Any, vae: Any, step: OneStep) -> None:
        super().__init__()
        self.unet = unet
        self.controlnet = controlnet
        self.decode = _Decoder(vae)
        self.latent_channels = int(unet.config.in_channels)
        self.context_width = int(unet.config.cross_attention_dim)
        self.step = step

    def forward(self, control: Tensor, noise: Tensor, embeddings: Tensor, scale: Tensor) -> Tensor:
        """SDXS (arXiv 2403.16627, section 3): one call of each network."""
        timestep = torch.full((1,), self.step.timestep, dtype=torch.int64, device=noise.device).expand(noise.shape[0])

        # 1. What the condition map adds to the U-Net's skips and to its deepest features, scaled for each sample.
        residuals, deepest = self._residuals(control, noise, embeddings, scale, timestep)

        # 2. The model's answer at the last timestep. Guidance is distilled into it: no second, unconditional call.
        output = self.unet(
            noise,
            timestep,
            encoder_hidden_states=embeddings,
            down_block_additional_residuals=residuals,
            mid_block_additional_residual=deepest,
            return_dict=False,
        )[0]

        # 3. The one step, then the picture.
        latents = self.step.from_noise * noise + self.step.from_output * output
        return (self.decode(latents) / 2 + 0.5).clamp(0, 1)

    def _residuals(
        self, control: Tensor, noise: Tensor, embeddings: Tensor, scale: Tensor, timestep: Tensor
    ) -> tuple[list[Tensor] | None, Tensor | None]:
        if self.controlnet is None:
            return None, None
        residuals, deepest = self.controlnet(
            noise,
            timestep,
            encoder_hidden_states=embeddings,
            controlnet_cond=control,
            conditioning_scale=scale.to(noise.dtype).view(-1, 1, 1, 1),
            return_dict=False,
        )
        return residuals, deepest


class _Decoder(nn.Module):
    """Latents of the diffusion model to a picture in [-1, 1], with the autoencoder's own scaling undone."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        # Only the decoder's half is kept: the encoder would be memory that live painting never touches.
        vae.encoder = None
        self.vae = vae
        self.scaling_factor = float(vae.config.scaling_factor)
        self.shift_factor = float(getattr(vae.config, "shift_factor", None) or 0.0)

    def forward(self, latents: Tensor) -> Tensor:
        picture: Tensor = self.vae.decode(latents / self.scaling_factor + self.shift_factor, return_dict=False)[0]
        return picture
