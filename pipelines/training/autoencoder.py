"""Stage 1: the autoencoder alone, on small crops of target pictures and a share of ordinary ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderTiny
from numpy.typing import NDArray
from torch import Tensor, nn

from pipelines.training.batches import Batch, open_canvases, sample
from pipelines.training.data import random_crop
from pipelines.training.losses import picture_loss
from pipelines.training.recipes import Recipe


def build(recipe: Recipe) -> AutoencoderTiny:
    """A fresh autoencoder whose convolutions keep the signal's scale, each residual block starting as the identity."""
    model = AutoencoderTiny(
        latent_channels=recipe.latent_channels,
        encoder_block_out_channels=(recipe.decoder_channels,) * 4,
        decoder_block_out_channels=(recipe.decoder_channels,) * 4,
        num_encoder_blocks=recipe.encoder_blocks,
        num_decoder_blocks=recipe.decoder_blocks,
    )
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in model.modules():
        if type(module).__name__ == "AutoencoderTinyBlock":
            nn.init.normal_(module.conv[-1].weight, std=1e-3)
    return model


class AutoencoderStage:
    """Pixels → latents → pixels; the latents are kept near unit scale and take the noise the sampler leaves in them."""

    def __init__(self, recipe: Recipe, data: Path) -> None:
        self.recipe = recipe
        self.canvases = open_canvases(data)
        self.model = build(recipe)
        self.modules = nn.ModuleDict({"vae": self.model})

    @property
    def draw(self) -> Callable[[np.random.Generator], Batch]:
        return partial(_crops, self.canvases, self.recipe)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        pictures = batch.target.contiguous(memory_format=torch.channels_last)
        latents = self.model.encoder(pictures)
        painted = self.model.decoder(latents + 0.03 * torch.randn_like(latents))
        error = picture_loss(painted, pictures)
        return {
            "loss": error + 1e-3 * F.relu(latents**2 - 1).mean(),
            "psnr": -10 * torch.log10(F.mse_loss(painted.clamp(-1, 1), pictures) / 4),
            "latent_std": latents.std(),
        }


def _crops(canvases: NDArray[np.uint8], recipe: Recipe, rng: np.random.Generator) -> Batch:
    """Small crops of targets drawn twice as large (so that distances reach over their borders), and of raw pictures."""
    crop = recipe.autoencoder_crop
    drawn = sample(canvases, recipe.autoencoder_batch, 2 * crop, recipe.latent_channels, rng)
    corners = rng.integers(0, crop + 1, (len(drawn.target), 2))
    crops = [drawn.target[i, :, top : top + crop, left : left + crop] for i, (top, left) in enumerate(corners)]
    for _ in range(recipe.autoencoder_batch // 8):
        raw = random_crop(canvases[rng.integers(len(canvases))], crop, rng)
        crops.append(torch.from_numpy(raw).float().permute(2, 0, 1) / 127.5 - 1)
    return replace(drawn, target=torch.stack(crops))
