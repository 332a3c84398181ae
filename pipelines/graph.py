"""The whole picture as one module: ControlNets, U-Net, the one step and the decoder.

Every backend runs this module and nothing else, so they can only differ in how, never in what.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pipelines.sampler import OneStep


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PaintInputs:
    """What one forward takes, for B samples and K condition maps each (K may be 0).

    ``noise`` B×C×h×w, the standard normal x_T; ``embeddings`` B×L×D; ``maps`` B×K×3×H×W in [0, 1], in the polarity
    that each ControlNet was trained with; ``scales`` B×K, the conditioning scales. Of the SDXL family also ``pooled``
    B×P and ``time_ids`` B×6 (arXiv 2307.01952, section 2.2: original size, crop, target size). A folded graph
    (``pipelines.fold``) takes the keys and values of its cross-attentions as ``embeddings`` B×L×S, and ``temb`` B×T,
    instead.
    """

    noise: Tensor
    embeddings: Tensor
    maps: Tensor
    scales: Tensor
    pooled: Tensor | None = None
    time_ids: Tensor | None = None
    temb: Tensor | None = None

    def replace(self, *, maps: Tensor) -> PaintInputs:
        """The same with other maps."""
        return dataclasses.replace(self, maps=maps)

    def named(self) -> dict[str, Tensor]:
        """By name, without what is absent or empty."""
        every = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in every.items() if value is not None and value.numel()}


class PaintGraph(nn.Module):
    """``forward(inputs, nets) -> pictures`` B×3×H×W in [0, 1], each sample of the batch with its own settings.

    ``nets`` names the ControlNet of each map, as an index into ``controlnets``.
    """

    def __init__(self, *, unet: Any, controlnets: Sequence[Any], vae: Any, step: OneStep) -> None:
        super().__init__()
        self.unet = unet
        self.controlnets = nn.ModuleList(controlnets)
        # The SDXL family's own autoencoder overflows in half precision; diffusers runs it in full there, and so do we.
        self.decode = _Decoder(vae, upcast=bool(getattr(vae.config, "force_upcast", False)) and _is_xl(unet))
        self.latent_channels = int(unet.config.in_channels)
        self.context_width = int(unet.config.cross_attention_dim)
        self.pooled_width = _pooled_width(unet)
        self.step = step

    def forward(self, inputs: PaintInputs, nets: Sequence[int]) -> Tensor:
        """SDXS (arXiv 2403.16627, section 3): one call of each network."""
        noise, step = inputs.noise, self.step
        timestep = torch.full((1,), step.timestep, dtype=torch.int64, device=noise.device).expand(noise.shape[0])
        shared: dict[str, Any] = {"encoder_hidden_states": inputs.embeddings, "return_dict": False}
        if inputs.pooled is not None:
            shared["added_cond_kwargs"] = {"text_embeds": inputs.pooled, "time_ids": inputs.time_ids}
        if inputs.temb is not None:
            shared["timestep_cond"] = inputs.temb
        sample = noise if step.input_scale == 1.0 else noise * step.input_scale

        # 1. What the condition maps add to the U-Net's skips and to its deepest features, scaled for each sample.
        residuals, deepest = self._residuals(inputs, nets, sample, timestep, shared)

        # 2. The model's answer at the last timestep. Guidance is distilled into it: no second, unconditional call.
        output = self.unet(
            sample,
            timestep,
            down_block_additional_residuals=residuals,
            mid_block_additional_residual=deepest,
            **shared,
        )[0]

        # 3. The one step, then the picture.
        latents = step.from_noise * noise + step.from_output * output
        return (self.decode(latents) / 2 + 0.5).clamp(0, 1)

    def _residuals(
        self, inputs: PaintInputs, nets: Sequence[int], sample: Tensor, timestep: Tensor, shared: dict[str, Any]
    ) -> tuple[list[Tensor] | None, Tensor | None]:
        """Summed over the maps: several ControlNets add up (diffusers' MultiControlNetModel)."""
        residuals: list[Tensor] | None = None
        deepest: Tensor | None = None
        for k, net in enumerate(nets):
            more, deep = self.controlnets[net](
                sample,
                timestep,
                controlnet_cond=inputs.maps[:, k],
                conditioning_scale=inputs.scales[:, k].to(sample.dtype).view(-1, 1, 1, 1),
                **shared,
            )
            residuals = more if residuals is None else [a + b for a, b in zip(residuals, more, strict=True)]
            deepest = deep if deepest is None else deepest + deep
        return residuals, deepest


class _Decoder(nn.Module):
    """Latents of the diffusion model to a picture in [-1, 1], with the autoencoder's own scaling undone."""

    def __init__(self, vae: Any, *, upcast: bool) -> None:
        super().__init__()
        # Only the decoder's half is kept here: who paints from noise alone needs no encoder.
        vae.encoder = None
        self.vae = vae
        self.upcast = upcast
        self.scaling_factor = float(vae.config.scaling_factor)
        self.shift_factor = float(getattr(vae.config, "shift_factor", None) or 0.0)

    def forward(self, latents: Tensor) -> Tensor:
        scaled = latents / self.scaling_factor + self.shift_factor
        if not self.upcast:
            picture: Tensor = self.vae.decode(scaled, return_dict=False)[0]
            return picture
        full: Tensor = self.vae.decode(scaled.float(), return_dict=False)[0]
        return full.to(latents.dtype)


def _is_xl(unet: Any) -> bool:
    return str(getattr(unet.config, "addition_embed_type", None)) == "text_time"


def _pooled_width(unet: Any) -> int:
    """SDXL's added conditions are the pooled text and six numbers, each as wide as its time embedding."""
    if not _is_xl(unet):
        return 0
    return int(unet.config.projection_class_embeddings_input_dim) - 6 * int(unet.config.addition_time_embed_dim)
