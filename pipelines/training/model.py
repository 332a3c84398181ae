"""The parts of a diffusion model as training uses them: teacher and student alike.

Pictures are B×3×H×W in [−1, 1], latents B×C×H/8×W/8 already scaled, maps B×3×H×W in [0, 1] as the conditioners draw
them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipelines.checkpoint import load_checkpoint
from pipelines.condition import DRAWN
from pipelines.locate import locate
from pipelines.presets import Preset
from pipelines.training.diffusion import Diffusion

FACTOR = 8  # pixels a latent is wide

Residuals = tuple[Sequence[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True, eq=False)
class Words:
    """Encoded prompts: ``tokens`` B×L×D, ``pooled`` B×P (SDXL family only)."""

    tokens: Tensor
    pooled: Tensor | None = None

    def added(self, latents: Tensor) -> dict[str, Tensor] | None:
        """SDXL's other conditions: pooled text, and the picture's own size as original, crop and target size."""
        if self.pooled is None:
            return None
        height, width = (FACTOR * side for side in latents.shape[-2:])
        ids = torch.tensor([height, width, 0, 0, height, width], dtype=latents.dtype, device=latents.device)
        return {"text_embeds": self.pooled, "time_ids": ids.expand(len(latents), -1)}


@dataclass(kw_only=True, eq=False)
class Model:
    """Not a module on purpose: what a player holds in one of these is not registered, hence not trained.

    ``inverted``: the kinds whose ControlNet takes its maps in the other polarity than ``condition.DRAWN``.
    """

    unet: Any
    vae: Any
    text_encoders: Sequence[Any]
    tokenizers: Sequence[Any]
    diffusion: Diffusion
    controlnets: Mapping[str, Any] = field(default_factory=dict)
    inverted: frozenset[str] = frozenset()
    preset: Preset | None = None

    @classmethod
    def load(cls, name_or_dir: str | Path, *, controlnets: Sequence[str] = ()) -> Model:
        """A preset, directory or repository as ``pipelines.locate`` takes them, float32, frozen, on the CPU.

        Raises what ``locate`` and ``load_checkpoint`` raise.
        """
        files = locate(name_or_dir, controlnets=controlnets)
        parts = load_checkpoint(files)
        polarity = {control.kind: control.polarity for control in files.preset.controls}
        return cls(
            unet=parts.unet,
            vae=parts.vae,
            text_encoders=list(parts.text_encoders),
            tokenizers=list(parts.tokenizers),
            diffusion=Diffusion.from_config(parts.scheduler),
            controlnets={str(kind): net for kind, net in parts.controlnets.items()},
            inverted=frozenset(kind for kind, net in polarity.items() if net != DRAWN[kind]),
            preset=files.preset,
        )

    def to(self, device: Any) -> None:
        """Move every network."""
        for module in (self.unet, self.vae, *self.text_encoders, *self.controlnets.values()):
            module.to(device)

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """C×H/8×W/8 of a picture of that many pixels."""
        return int(self.unet.config.in_channels), height // FACTOR, width // FACTOR

    @torch.no_grad()
    def words(self, prompts: Sequence[str]) -> Words:
        """Encode prompts with the frozen text encoders."""
        return encode_words(self.text_encoders, self.tokenizers, prompts)

    @torch.no_grad()
    def encode(self, pictures: Tensor) -> Tensor:
        """Latents of pictures (the mean of a KL autoencoder's)."""
        return encode(self.vae, pictures)

    def decode(self, latents: Tensor) -> Tensor:
        """Pictures of latents, not clamped. Gradients pass."""
        return decode(self.vae, latents)

    def control(
        self, kind: str, noisy: Tensor, t: Tensor, words: Words, maps: Tensor, scale: Tensor | float = 1.0
    ) -> Residuals:
        """What its ControlNet of that kind adds to the U-Net; the maps are turned to its polarity here."""
        return residuals(self.controlnets[kind], noisy, t, words, 1 - maps if kind in self.inverted else maps, scale)


def encode_words(text_encoders: Sequence[Any], tokenizers: Sequence[Any], prompts: Sequence[str]) -> Words:
    """Prompts through one encoder (its last hidden state) or SDXL's two (see ``pipelines.prompt``). Gradients pass."""
    if len(text_encoders) == 1:
        return Words(tokens=text_encoders[0](_ids(tokenizers[0], prompts, text_encoders[0]))[0])
    outputs = [
        encoder(_ids(tokenizer, prompts, encoder), output_hidden_states=True)
        for tokenizer, encoder in zip(tokenizers, text_encoders, strict=True)
    ]
    return Words(tokens=torch.cat([each.hidden_states[-2] for each in outputs], -1), pooled=outputs[-1].text_embeds)


def predict(unet: nn.Module, noisy: Tensor, t: Tensor, words: Words, control: Residuals | None = None) -> Tensor:
    """The U-Net's raw output at x_t; ``Diffusion`` says what it means. ``t``: B timesteps."""
    down, middle = control if control is not None else (None, None)
    output: Tensor = unet(
        noisy,
        t,
        words.tokens,
        added_cond_kwargs=words.added(noisy),
        down_block_additional_residuals=down,
        mid_block_additional_residual=middle,
        return_dict=False,
    )[0]
    return output


def residuals(
    controlnet: nn.Module, noisy: Tensor, t: Tensor, words: Words, maps: Tensor, scale: Tensor | float = 1.0
) -> Residuals:
    """A ControlNet's residuals times ``scale`` (a number or B of them)."""
    down, middle = controlnet(noisy, t, words.tokens, maps, added_cond_kwargs=words.added(noisy), return_dict=False)
    if isinstance(scale, Tensor):
        scale = scale.view(-1, 1, 1, 1)
    return [each * scale for each in down], middle * scale


def encode(vae: Any, pictures: Tensor) -> Tensor:
    """Scaled latents; gradients pass. The mean where the autoencoder gives a distribution."""
    output = vae.encode(pictures)
    latents: Tensor = output.latents if hasattr(output, "latents") else output.latent_dist.mean
    return latents * float(vae.config.scaling_factor)


def decode(vae: Any, latents: Tensor) -> Tensor:
    """Pictures in about [−1, 1]; gradients pass."""
    picture: Tensor = vae.decode(latents / float(vae.config.scaling_factor), return_dict=False)[0]
    return picture


def _ids(tokenizer: Any, prompts: Sequence[str], text_encoder: nn.Module) -> Tensor:
    numbered = tokenizer(
        list(prompts),
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    )
    ids: Tensor = numbered.input_ids.to(next(text_encoder.parameters()).device)
    return ids
