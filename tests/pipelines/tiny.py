"""Models of the true classes at a tiny size with random weights, saved by diffusers' own pipeline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderTiny,
    ControlNetModel,
    DEISMultistepScheduler,
    StableDiffusionControlNetPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

DOWN = ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D")
UP = ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D")


def tokenizer(folder: Path) -> CLIPTokenizer:
    """Single letters only: a real CLIP tokenizer with the smallest vocabulary there is."""
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)] + [",", "."]
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=12)


def text_encoder(vocabulary: int) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocabulary,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=12,
            projection_dim=32,
            bos_token_id=vocabulary - 2,
            eos_token_id=vocabulary - 1,
        )
    )


def unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=16,
        layers_per_block=1,
        block_out_channels=(16, 32, 32),
        down_block_types=DOWN,
        up_block_types=UP,
        mid_block_type=None,
        cross_attention_dim=32,
        attention_head_dim=8,
        norm_num_groups=8,
    )


def controlnet() -> ControlNetModel:
    net = ControlNetModel(
        layers_per_block=1,
        block_out_channels=(16, 32, 32),
        down_block_types=DOWN,
        cross_attention_dim=32,
        attention_head_dim=8,
        norm_num_groups=8,
        conditioning_embedding_out_channels=(8, 8, 16, 16),
    )
    # Fresh ControlNets end in zero convolutions, which would hide every mistake in how their output is used.
    for layer in [*net.controlnet_down_blocks, net.controlnet_mid_block, net.controlnet_cond_embedding.conv_out]:
        torch.nn.init.normal_(layer.weight, std=0.2)
    return net


def vae() -> AutoencoderTiny:
    tiny = AutoencoderTiny(
        encoder_block_out_channels=(16,) * 4,
        decoder_block_out_channels=(16,) * 4,
        num_encoder_blocks=(1, 1, 1, 1),
        num_decoder_blocks=(1, 1, 1, 1),
    )
    # Random weights answer near 0, which is black and would be clipped: spread the pictures over [0, 1].
    last = tiny.decoder.layers[-1]
    torch.nn.init.normal_(last.weight, std=0.4)
    torch.nn.init.constant_(last.bias, 0.5)
    return tiny


def scheduler(**changes: Any) -> DEISMultistepScheduler:
    config = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, **changes}
    return DEISMultistepScheduler(num_train_timesteps=1000, timestep_spacing="trailing", **config)


def pipeline(workspace: Path, *, seed: int = 0, **schedule: Any) -> StableDiffusionControlNetPipeline:
    """diffusers' own pipeline with random weights."""
    torch.manual_seed(seed)
    words = tokenizer(workspace / "words")
    parts = {
        "unet": unet(),
        "controlnet": controlnet(),
        "vae": vae(),
        "text_encoder": text_encoder(len(words)),
        "tokenizer": words,
        "scheduler": scheduler(**schedule),
    }
    pipe = StableDiffusionControlNetPipeline(
        **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def save(workspace: Path, **options: Any) -> tuple[StableDiffusionControlNetPipeline, Path]:
    """The pipeline and the directory it was saved to."""
    pipe = pipeline(workspace, **options)
    directory = workspace / "model"
    pipe.save_pretrained(directory, safe_serialization=True)
    return pipe, directory
