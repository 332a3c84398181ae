"""Tiny models of each family, saved by diffusers' own pipelines: SDXS-512-0.9, SD 2.x, SDXL (SDXS-512 is in tiny)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    EulerDiscreteScheduler,
    StableDiffusionControlNetPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLControlNetPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from tests.pipelines import tiny

WIDTH = 40
_BETAS = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
_BLOCKS: dict[str, Any] = {
    "block_out_channels": (16, 32),
    "layers_per_block": 1,
    "attention_head_dim": (2, 4),
    "norm_num_groups": 8,
    "use_linear_projection": True,
}
_DOWN, _UP = ("CrossAttnDownBlock2D", "DownBlock2D"), ("UpBlock2D", "CrossAttnUpBlock2D")


def euler() -> EulerDiscreteScheduler:
    """As sd-turbo is published."""
    return EulerDiscreteScheduler(timestep_spacing="trailing", prediction_type="epsilon", **_BETAS)


def kl_vae(**options: Any) -> AutoencoderKL:
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        norm_num_groups=8,
        latent_channels=4,
        scaling_factor=0.18215,
        **options,
    )
    torch.nn.init.normal_(vae.decoder.conv_out.weight, std=0.4)
    return vae


def sdxs_0_9(workspace: Path) -> tuple[StableDiffusionPipeline, Path]:
    """As SDXS-512-0.9: at the highest resolution one head, cross-attention in place of self-attention; no mid block."""
    torch.manual_seed(4)
    words = tiny.tokenizer(workspace / "words")
    pipe = StableDiffusionPipeline(
        unet=UNet2DConditionModel(
            sample_size=16,
            layers_per_block=1,
            block_out_channels=(16, 32, 32),
            down_block_types=("CrossAttnDownBlock2D",) * 3,
            up_block_types=("CrossAttnUpBlock2D",) * 3,
            mid_block_type=None,
            only_cross_attention=(True, False, False),
            attention_head_dim=(1, 2, 4),
            cross_attention_dim=WIDTH,
            norm_num_groups=8,
        ),
        vae=tiny.vae(),
        text_encoder=CLIPTextModel(_text(len(words), WIDTH)),
        tokenizer=words,
        scheduler=tiny.scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    return _save(pipe, workspace)


def sd2(workspace: Path) -> tuple[StableDiffusionControlNetPipeline, Path]:
    """A mid block, a ControlNet of the usual kind, another context width, the KL autoencoder, Euler."""
    torch.manual_seed(2)
    words = tiny.tokenizer(workspace / "words")
    pipe = StableDiffusionControlNetPipeline(
        unet=UNet2DConditionModel(
            sample_size=16, down_block_types=_DOWN, up_block_types=_UP, cross_attention_dim=WIDTH, **_BLOCKS
        ),
        controlnet=_controlnet(cross_attention_dim=WIDTH),
        vae=kl_vae(),
        text_encoder=CLIPTextModel(_text(len(words), WIDTH)),
        tokenizer=words,
        scheduler=euler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    return _save(pipe, workspace)


def sdxl(workspace: Path) -> tuple[StableDiffusionXLControlNetPipeline, Path]:
    """Two text encoders, pooled text and sizes as added conditions."""
    torch.manual_seed(3)
    words = tiny.tokenizer(workspace / "words")
    added: dict[str, Any] = {
        "cross_attention_dim": WIDTH + 24,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 6 * 8 + 20,
        "transformer_layers_per_block": (1, 2),
    }
    pipe = StableDiffusionXLControlNetPipeline(
        unet=UNet2DConditionModel(sample_size=16, down_block_types=_DOWN, up_block_types=_UP, **_BLOCKS, **added),
        controlnet=_controlnet(**added),
        vae=kl_vae(),
        text_encoder=CLIPTextModel(_text(len(words), WIDTH)),
        text_encoder_2=CLIPTextModelWithProjection(_text(len(words), 24, projection_dim=20)),
        tokenizer=words,
        tokenizer_2=words,
        scheduler=euler(),
        add_watermarker=False,
    )
    return _save(pipe, workspace)


def controlnet_folder(workspace: Path, *, seed: int, **options: Any) -> tuple[ControlNetModel, Path]:
    """One more ControlNet of the SDXS shape, in a directory of its own."""
    torch.manual_seed(seed)
    net = tiny.controlnet()
    folder = workspace / f"controlnet-{seed}"
    net.save_pretrained(folder)
    return net, folder


def _controlnet(**options: Any) -> ControlNetModel:
    net = ControlNetModel(
        down_block_types=_DOWN, conditioning_embedding_out_channels=(8, 8, 16, 16), **_BLOCKS, **options
    )
    for layer in [*net.controlnet_down_blocks, net.controlnet_mid_block, net.controlnet_cond_embedding.conv_out]:
        torch.nn.init.normal_(layer.weight, std=0.2)
    return net


def _text(vocabulary: int, width: int, *, projection_dim: int = 32) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=12,
        projection_dim=projection_dim,
        bos_token_id=vocabulary - 2,
        eos_token_id=vocabulary - 1,
    )


def _save(pipe: Any, workspace: Path) -> tuple[Any, Path]:
    pipe.set_progress_bar_config(disable=True)
    directory = workspace / "model"
    pipe.save_pretrained(directory, safe_serialization=True)
    return pipe, directory
