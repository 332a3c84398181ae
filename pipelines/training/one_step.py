"""Stages 4 and 5: U-Net, ControlNet, text encoder and decoder learn to paint in the sampler's one step.

The step is the one that inference takes: latents = a·x_T + b·(model output), a and b from the schedule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderTiny, ControlNetModel, DEISMultistepScheduler, UNet2DConditionModel
from torch import Tensor, nn

from pipelines.prompt import load_tokenizer
from pipelines.sampler import one_step
from pipelines.training import captions
from pipelines.training.batches import Batch, open_canvases, sample
from pipelines.training.losses import colour_loss, picture_loss
from pipelines.training.recipes import OneStepPlan, Recipe
from pipelines.training.styles import STYLES
from pipelines.training.text import build_text_encoder, build_tokenizer, tokens

DOWN = ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D")
UP = ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D")


def build_scheduler() -> DEISMultistepScheduler:
    """SDXS's schedule; the model predicts the picture's latents, which small networks learn best."""
    return DEISMultistepScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="sample",
        timestep_spacing="trailing",
    )


def build_unet(recipe: Recipe) -> UNet2DConditionModel:
    """A U-Net in SDXS's shape: three stages, no mid block, no transformer at the highest resolution.

    The prompt also joins the time embedding, and so reaches every layer, those of the highest resolution too.
    """
    return UNet2DConditionModel(
        sample_size=32,
        in_channels=recipe.latent_channels,
        out_channels=recipe.latent_channels,
        layers_per_block=1,
        block_out_channels=recipe.unet_channels,
        down_block_types=DOWN,
        up_block_types=UP,
        mid_block_type=None,
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
        cross_attention_dim=recipe.text_width,
        attention_head_dim=4,
        norm_num_groups=16,
    )


def build_controlnet(recipe: Recipe) -> ControlNetModel:
    """Its ControlNet; what is usually zero at the start begins small instead, so that it learns from the first step."""
    model = ControlNetModel(
        in_channels=recipe.latent_channels,
        layers_per_block=1,
        block_out_channels=recipe.unet_channels,
        down_block_types=DOWN,
        cross_attention_dim=recipe.text_width,
        attention_head_dim=4,
        norm_num_groups=16,
        conditioning_embedding_out_channels=recipe.control_channels,
    )
    zeros = [*model.controlnet_down_blocks, model.controlnet_mid_block, model.controlnet_cond_embedding.conv_out]
    for layer in zeros:
        nn.init.normal_(layer.weight, std=0.05)
    with torch.no_grad():
        model.conv_in.weight.mul_(0.3)  # the noise speaks softly here, so that the map is heard
    return model


@dataclass(frozen=True, kw_only=True)
class Painter:
    """All parts of the one-step model, as diffusers and transformers classes."""

    unet: UNet2DConditionModel
    controlnet: ControlNetModel
    text_encoder: Any
    tokenizer: Any
    vae: AutoencoderTiny

    def latents(self, edges: Tensor, noise: Tensor, texts: list[str], strength: Tensor) -> Tensor:
        """One step from ``noise`` (B×C×H/8×W/8) under ``edges`` (B×3×H×W), each sample at its own strength (B)."""
        step = one_step({**build_scheduler().config, "_class_name": "DEISMultistepScheduler"})
        words = self.text_encoder(tokens(self.tokenizer, texts))[0]
        time = torch.full((len(noise),), step.timestep)
        down, middle = self.controlnet(noise, time, words, edges, return_dict=False)
        scale = strength.view(-1, 1, 1, 1)
        output = self.unet(
            noise,
            time,
            words,
            down_block_additional_residuals=[residual * scale for residual in down],
            mid_block_additional_residual=middle * scale,
            return_dict=False,
        )[0]
        return step.from_noise * noise + step.from_output * output


def build_painter(recipe: Recipe, vae: AutoencoderTiny, folder: Path) -> Painter:
    """A fresh model around a trained autoencoder; the tokenizer's files go to ``folder/tokenizer``."""
    rng = np.random.default_rng(0)
    if (folder / "tokenizer" / "vocab.json").is_file():
        # Pairs of equal count are merged in an order of the moment, so one run keeps the vocabulary it began with.
        tokenizer = load_tokenizer(folder / "tokenizer")
    else:
        lines = [captions.caption(list(STYLES)[index % len(STYLES)], rng)[0] for index in range(4000)]
        tokenizer = build_tokenizer(lines, folder / "tokenizer", recipe.vocabulary)
    return Painter(
        unet=build_unet(recipe),
        controlnet=build_controlnet(recipe),
        text_encoder=build_text_encoder(tokenizer, recipe.text_width, recipe.text_layers),
        tokenizer=tokenizer,
        vae=vae,
    )


class OneStepStage:
    """The painter on crops of ``plan.crop`` pixels; the decoder trains too where the plan says so."""

    def __init__(self, recipe: Recipe, plan: OneStepPlan, data: Path, painter: Painter) -> None:
        self.recipe, self.plan, self.painter = recipe, plan, painter
        self.canvases = open_canvases(data)
        painter.vae.requires_grad_(False)
        painter.vae.decoder.requires_grad_(plan.train_decoder)
        self.modules = nn.ModuleDict(
            {
                "unet": painter.unet,
                "controlnet": painter.controlnet,
                "text_encoder": painter.text_encoder,
                "decoder": painter.vae.decoder,
            }
        )

    @property
    def draw(self) -> Callable[[np.random.Generator], Batch]:
        plan = self.plan
        return partial(sample, self.canvases, plan.batch, plan.crop, self.recipe.latent_channels)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        painter, plan = self.painter, self.plan
        latents = painter.latents(batch.edges, batch.noise, batch.captions, batch.strength)
        seen = plan.decoded
        painted, target = painter.vae.decoder(latents[:seen]), batch.target[:seen]
        colour = colour_loss(painted, target)
        picture = picture_loss(painted, target, plan.edge_weight, plan.sharp) + plan.colour_weight * colour
        if not plan.latent_weight:
            return {"loss": picture, "colour": colour}
        with torch.no_grad():
            wanted = painter.vae.encoder(batch.target)
            spread = wanted.std(dim=(0, 2, 3), keepdim=True).clamp_min(0.05)
        near = F.mse_loss(latents / spread, wanted / spread)
        return {"loss": plan.latent_weight * near + picture, "latent": near, "picture": picture}
