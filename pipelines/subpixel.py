"""An autoencoder of factor 8 that lays pixels beside each other in channels, and back (sub-pixel convolution, arXiv
1609.05158).

``AutoencoderTiny`` enlarges by repetition and convolution, to which the places inside a latent look alike: where
latents are equal it paints a flat, whatever they say, and thin lines it places only by what neighbours differ in. Here
the 8×8 pixels of a latent have weights of their own, and good first weights are known without training: the principal
components of the pictures' blocks (Karhunen's and Loève's transform, which JPEG's cosines approximate).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTinyOutput
from diffusers.models.autoencoders.vae import DecoderOutput
from torch import Tensor, nn

FACTOR, _COARSE, _FINE = 8, 4, 2  # 8 = 4·2: from the latents' resolution to half of the picture's, and on to its own
_COLOURS = 3
_HALF = _COLOURS * _FINE**2  # channels at half of the picture's resolution: the colours of 2×2 pixels
_BLOCK = _COLOURS * FACTOR**2


class AutoencoderSubpixel(ModelMixin, ConfigMixin):
    """Latents of ``latent_channels``; the decoder is ``channels`` wide, with ``blocks`` residual blocks at the latents'
    resolution and ``half_blocks`` of ``half_channels`` at half of the picture's. Called as ``AutoencoderTiny`` is.
    ``block_out_channels``: diffusers' pipelines count these for the factor, nothing else is made of them."""

    @register_to_config
    def __init__(
        self,
        *,
        latent_channels: int = 48,
        channels: int = 64,
        blocks: int = 3,
        half_channels: int = 24,
        half_blocks: int = 1,
        scaling_factor: float = 1.0,
        shift_factor: float = 0.0,
        block_out_channels: Sequence[int] = (64, 64, 64, 64),
    ) -> None:
        super().__init__()
        self.encoder = SubpixelEncoder(latent_channels)
        self.decoder = SubpixelDecoder(latent_channels, channels, blocks, half_channels, half_blocks)

    def encode(self, pictures: Tensor, return_dict: bool = True) -> Any:
        """``pictures``: B×3×H×W in [−1, 1], H and W multiples of 8. Returns ``latents`` B×C×H/8×W/8, not scaled."""
        latents = self.encoder(pictures)
        return AutoencoderTinyOutput(latents=latents) if return_dict else (latents,)

    def decode(self, latents: Tensor, generator: Any = None, return_dict: bool = True) -> Any:
        """``latents``: B×C×h×w, not scaled. Returns ``sample`` B×3×8h×8w, about [−1, 1]."""
        pictures = self.decoder(latents)
        return DecoderOutput(sample=pictures) if return_dict else (pictures,)


class SubpixelEncoder(nn.Module):
    """Each 8×8 block by itself, linearly. ``layers`` takes pictures in [0, 1]."""

    def __init__(self, latent_channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.PixelUnshuffle(FACTOR), nn.Conv2d(_BLOCK, latent_channels, 1))

    def forward(self, pictures: Tensor) -> Tensor:
        """B×3×H×W in [−1, 1] to B×C×H/8×W/8."""
        latents: Tensor = self.layers(pictures.add(1).div(2))
        return latents


class SubpixelDecoder(nn.Module):
    """``layers`` gives pictures in [0, 1]."""

    def __init__(self, latent_channels: int, channels: int, blocks: int, half_channels: int, half_blocks: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(latent_channels, channels, 3, padding=1),
            *(Residual(channels, channels) for _ in range(blocks)),
            nn.Conv2d(channels, _HALF * _COARSE**2, 3, padding=1),
            nn.PixelShuffle(_COARSE),
            *(Residual(_HALF, half_channels) for _ in range(half_blocks)),
            nn.PixelShuffle(_FINE),
        )

    def forward(self, latents: Tensor) -> Tensor:
        """B×C×h×w to B×3×8h×8w in [−1, 1]."""
        pictures: Tensor = self.layers(latents)
        return pictures.mul(2).sub(1)


class Residual(nn.Module):
    """x + two convolutions with SiLU between; ``channels`` of x, ``hidden`` between."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, hidden, 3, padding=1)
        self.conv2 = nn.Conv2d(hidden, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.conv2(nn.functional.silu(self.conv1(x)))
        return x + change


@torch.no_grad()
def start_with_components(vae: Any, pictures: Tensor) -> None:
    """Let ``vae``, an ``AutoencoderSubpixel``, begin as the principal components of the blocks of ``pictures``
    (B×3×H×W in [−1, 1]) and its residual blocks as the identity.

    Component k of deviation σₖ is scaled to √(σₖ/σ₃), at most 1: all of one size would have a U-Net spend itself on the
    faint ones; in proportion, it would leave the lines to last. Raises ValueError for fewer channels than latents.
    """
    first, middle = (layer for layer in vae.decoder.layers if isinstance(layer, nn.Conv2d))
    count = vae.config.latent_channels
    if first.out_channels < count:
        raise ValueError(f"A decoder {first.out_channels} wide can't begin with {count} components.")
    mean, components, deviations = _components(pictures.add(1).div(2), count)
    sizes = (deviations / deviations[min(2, count - 1)]).clamp(max=1).sqrt()
    analysis = components * (sizes / deviations)[:, None]
    _set(vae.encoder.layers[1], analysis[:, :, None, None], -analysis @ mean)
    embedding = torch.zeros_like(first.weight)
    embedding[range(count), range(count), 1, 1] = 1
    _set(first, embedding, torch.zeros(first.out_channels))
    order = _places()
    synthesis = torch.zeros_like(middle.weight)
    synthesis[:, :count, 1, 1] = (components.T * (deviations / sizes))[order].to(synthesis)
    _set(middle, synthesis, mean[order])
    for block in vae.decoder.modules():
        if isinstance(block, Residual):
            for layer in (block.conv1, block.conv2):
                _set(layer, torch.zeros_like(layer.weight), torch.zeros(layer.out_channels))
            nn.init.kaiming_normal_(block.conv1.weight, nonlinearity="relu")


def _components(pictures: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The blocks' mean, their ``count`` largest principal components (count×192) and deviations along these."""
    blocks = nn.functional.pixel_unshuffle(pictures.double(), FACTOR).movedim(1, -1).flatten(0, -2)
    mean = blocks.mean(0)
    values, vectors = torch.linalg.eigh((blocks - mean).T @ (blocks - mean) / len(blocks))
    vectors = vectors.flip(1)[:, :count].T
    signs = vectors.sum(1, keepdim=True).sign()  # a component's sign is anybody's choice; this one is always the same
    return mean, vectors * torch.where(signs == 0, 1.0, signs), values.flip(0)[:count].clamp(min=1e-8).sqrt()


def _places() -> Tensor:
    """Which of an encoder's 192 numbers of a block (``pixel_unshuffle``) each of the decoder's is."""
    numbers = torch.arange(_BLOCK, dtype=torch.float64).view(1, _BLOCK, 1, 1)
    pixels = nn.functional.pixel_shuffle(numbers, FACTOR)
    halves = nn.functional.pixel_unshuffle(pixels, _FINE)
    return nn.functional.pixel_unshuffle(halves, _COARSE).flatten().long()


def _set(layer: Any, weight: Tensor, bias: Tensor) -> None:
    layer.weight.copy_(weight)
    layer.bias.copy_(bias)
