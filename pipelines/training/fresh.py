"""A small teacher with random weights in Stable Diffusion's layout, and the model directory it begins as."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderTiny,
    ControlNetModel,
    DEISMultistepScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from torch import nn
from transformers.utils import logging

from pipelines.presets import Preset
from pipelines.subpixel import AutoencoderSubpixel
from pipelines.training.removal import let_maps_through
from pipelines.training.run import write_preset
from pipelines.training.text import build_text_encoder
from pipelines.training.whole_maps import start_with_whole_maps


@dataclass(frozen=True, kw_only=True)
class Networks:
    """Sizes of a teacher's networks; the defaults are about a twentieth of Stable Diffusion's.

    ``autoencoder_channels`` of all its stages, ``encoder_blocks`` and ``decoder_blocks`` from the input to the output.
    ``subpixel``: the autoencoder of that module, whose encoder has no blocks and whose decoder has its own at the
    latents' resolution and at half of the picture's, the first and third of ``decoder_blocks``.
    ``channels`` of the U-Net's four stages, each of two layers; transformers of ``heads`` heads in all but the deepest.
    ``control_channels`` of the layers through which a ControlNet takes its map. ``text_length`` in tokens, the two
    marks included; ``vocabulary`` of the tokenizer, more than 514. ``pooled_text``: the prompt also joins the time
    embedding, and so reaches stages without transformers. ``whole_maps``: see that module. ``highest_transformers``:
    whether the highest resolution has any; half of the time goes there.
    """

    latent_channels: int = 4
    autoencoder_channels: int = 64
    encoder_blocks: tuple[int, int, int, int] = (1, 3, 3, 3)
    decoder_blocks: tuple[int, int, int, int] = (3, 3, 3, 1)
    subpixel: bool = False
    channels: tuple[int, int, int, int] = (96, 192, 256, 256)
    heads: int = 4
    norm_groups: int = 16
    control_channels: tuple[int, int, int, int] = (16, 32, 64, 128)
    text_width: int = 256
    text_layers: int = 4
    text_length: int = 32
    vocabulary: int = 4096
    pooled_text: bool = False
    whole_maps: bool = False
    highest_transformers: bool = True


def autoencoder(networks: Networks) -> Any:
    """Convolutions alone, factor 8. At first they keep the signal's scale, residual blocks are the identity, and what
    comes out is grey; a ``subpixel`` one is to start with its components."""
    if networks.subpixel:
        return AutoencoderSubpixel(**subpixel_sizes(networks))
    width = (networks.autoencoder_channels,) * 4
    model = AutoencoderTiny(
        latent_channels=networks.latent_channels,
        encoder_block_out_channels=width,
        decoder_block_out_channels=width,
        num_encoder_blocks=networks.encoder_blocks,
        num_decoder_blocks=networks.decoder_blocks,
        act_fn="silu",
    )
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in model.modules():
        if type(module).__name__ == "AutoencoderTinyBlock":
            nn.init.normal_(module.conv[-1].weight, std=1e-3)
    nn.init.normal_(model.decoder.layers[-1].weight, std=0.05)
    nn.init.constant_(model.decoder.layers[-1].bias, 0.5)
    return model


def subpixel_sizes(networks: Networks) -> dict[str, int]:
    """What such an ``AutoencoderSubpixel`` is made of."""
    coarse, _, half, _ = networks.decoder_blocks
    return {
        "latent_channels": networks.latent_channels,
        "channels": networks.autoencoder_channels,
        "blocks": coarse,
        "half_blocks": half,
    }


def unet(networks: Networks, latents: int) -> Any:
    """Stable Diffusion's four stages and mid block. ``latents``: a side of what it is mostly shown."""
    return UNet2DConditionModel(
        sample_size=latents,
        in_channels=networks.latent_channels,
        out_channels=networks.latent_channels,
        layers_per_block=2,
        block_out_channels=networks.channels,
        cross_attention_dim=networks.text_width,
        attention_head_dim=networks.heads,
        norm_num_groups=networks.norm_groups,
        **_stages(networks),
        **({"addition_embed_type": "text", "addition_embed_type_num_heads": 4} if networks.pooled_text else {}),
    )


def _stages(networks: Networks) -> dict[str, tuple[str, ...]]:
    down = ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"]
    up = ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3
    if not networks.highest_transformers:
        down[0], up[-1] = "DownBlock2D", "UpBlock2D"
    return {"down_block_types": tuple(down), "up_block_types": tuple(up)}


def controlnet(networks: Networks, base: Any, start: float) -> Any:
    """A ControlNet that begins as ``base``'s own encoder. ``start``: σ of its last convolutions' weights.

    They are zero in the paper (arXiv 2302.05543, section 3.1); a little more than zero, and small networks hear the
    map from the first step.
    """
    if networks.pooled_text:  # words reach it by its transformers alone
        plain = UNet2DConditionModel.from_config({**base.config, "addition_embed_type": None})
        plain.load_state_dict(base.state_dict(), strict=False)
        base = plain
    net = ControlNetModel.from_unet(base, conditioning_embedding_out_channels=networks.control_channels)
    if networks.whole_maps:
        start_with_whole_maps(net)
    else:
        let_maps_through(net)
    if start:
        last = [*net.controlnet_down_blocks, net.controlnet_mid_block]
        for layer in last if networks.whole_maps else [*last, net.controlnet_cond_embedding.conv_out]:
            nn.init.normal_(layer.weight, std=start)
    return net


def scheduler(prediction: str) -> Any:
    """Stable Diffusion's schedule; its single step is SDXS's."""
    return DEISMultistepScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type=prediction,
        steps_offset=1,  # not used in a single step; diffusers warns of another
        timestep_spacing="trailing",
    )


def save_fresh(
    folder: Path, networks: Networks, tokenizer: Any, *, prediction: str, preset: Preset, vae: Any, seed: int
) -> None:
    """Write the model directory that the teacher begins as: everything but ``vae`` is random by ``seed``, and the same
    at every call. In one piece."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pipeline = StableDiffusionPipeline(
            vae=vae,
            text_encoder=build_text_encoder(tokenizer, networks.text_width, networks.text_layers),
            tokenizer=tokenizer,
            unet=unet(networks, preset.size[0] // 8),
            scheduler=scheduler(prediction),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    partial = folder.with_name(folder.name + ".part")
    shutil.rmtree(partial, ignore_errors=True)
    with _quiet():
        pipeline.save_pretrained(partial, safe_serialization=True)
    for weights in partial.rglob("*.safetensors"):
        weights.chmod(0o644)  # readable for every user, as other files are
    write_preset(partial, preset)
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the bars that saving would show beside the run's own."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
