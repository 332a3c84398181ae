"""A teacher in Stable Diffusion's layout (four stages of two layers, a mid block, a ControlNet) at a tiny size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import ControlNetModel, StableDiffusionControlNetPipeline, UNet2DConditionModel

from tests.pipelines import tiny

DOWN = ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",)
UP = ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3
BLOCKS: dict[str, Any] = {
    "block_out_channels": (16, 32, 32, 32),
    "layers_per_block": 2,
    "cross_attention_dim": 32,
    "attention_head_dim": 4,
    "norm_num_groups": 8,
    "down_block_types": DOWN,
}


def unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(sample_size=8, up_block_types=UP, **BLOCKS)


def controlnet() -> ControlNetModel:
    net = ControlNetModel(conditioning_embedding_out_channels=(8, 8, 16, 16), **BLOCKS)
    # Fresh ControlNets end in zero convolutions, which would hide every mistake in how their output is used.
    for layer in [*net.controlnet_down_blocks, net.controlnet_mid_block, net.controlnet_cond_embedding.conv_out]:
        torch.nn.init.normal_(layer.weight, std=0.2)
    return net


def save(workspace: Path, *, seed: int = 0, prediction: str = "v_prediction") -> Path:
    """Random weights as a model directory; 64×64 pictures are 8×8 latents of 4 channels."""
    torch.manual_seed(seed)
    words = tiny.tokenizer(workspace / "words")
    pipe = StableDiffusionControlNetPipeline(
        unet=unet(),
        controlnet=controlnet(),
        vae=tiny.vae(),
        text_encoder=tiny.text_encoder(len(words)),
        tokenizer=words,
        scheduler=tiny.scheduler(prediction_type=prediction),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    directory = workspace / "teacher"
    pipe.save_pretrained(directory, safe_serialization=True)
    return directory
