"""SDXS-512 with its ControlNet at its true size and random weights, 512², through ``sdxs-live image``, on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import diffusers
import numpy as np
import pytest
import torch
from transformers import CLIPTextConfig, CLIPTextModel
from typer.testing import CliRunner

from pipelines.canny import CannyConditioner
from pipelines.controlnet import SDXS_512_SKETCH
from pipelines.decoder import TINY
from pipelines.settings import Settings
from pipelines.text_encoder import CLIP_L
from pipelines.unet import SDXS_512
from realtime.cli import app
from tests.pipelines import tiny

SETTINGS = Settings(prompt="a cat", seed=3, conditioning_scale=0.8)
PRESET = """{"name": "full", "size": [512, 512], "controls": [
    {"kind": "canny", "folder": "controlnet", "polarity": "black on white"}]}"""


def published(workspace: Path) -> tuple[Any, Path]:
    """The published layout with random weights, saved in half precision by diffusers' own pipeline."""
    torch.manual_seed(1)
    words = tiny.tokenizer(workspace / "words")
    text = {**CLIP_L, "vocab_size": len(words), "bos_token_id": len(words) - 2, "eos_token_id": len(words) - 1}
    parts = {
        "unet": diffusers.UNet2DConditionModel.from_config(dict(SDXS_512)),
        "controlnet": spread(diffusers.ControlNetModel.from_config(dict(SDXS_512_SKETCH))),
        "vae": brighten(diffusers.AutoencoderTiny.from_config(dict(TINY))),
        "text_encoder": CLIPTextModel(CLIPTextConfig(**text)),
        "tokenizer": words,
        "scheduler": tiny.scheduler(),
    }
    pipe = diffusers.StableDiffusionControlNetPipeline(
        **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )
    # What is compared has to come from the same numbers: those that the files hold.
    pipe.to(torch.float16).save_pretrained(workspace / "model", safe_serialization=True)
    (workspace / "model" / "preset.json").write_text(PRESET)
    pipe.to(torch.float32).set_progress_bar_config(disable=True)
    return pipe, workspace / "model"


def spread(net: Any) -> Any:
    """Fresh ControlNets end in zeros, which would hide every mistake in how their output is used."""
    for layer in [*net.controlnet_down_blocks, net.controlnet_mid_block, net.controlnet_cond_embedding.conv_out]:
        torch.nn.init.normal_(layer.weight, std=0.05)
    return net


def brighten(vae: Any) -> Any:
    """Random weights answer near 0, which is black and would be clipped."""
    torch.nn.init.normal_(vae.decoder.layers[-1].weight, std=0.2)
    torch.nn.init.constant_(vae.decoder.layers[-1].bias, 0.5)
    return vae


@pytest.mark.slow
@pytest.mark.timeout(420)
def test_the_image_command_at_full_size_is_diffusers_picture(tmp_path: Path) -> None:
    pipe, directory = published(tmp_path)
    photo = np.zeros((512, 512, 3), np.uint8)
    cv2.circle(photo, (256, 256), 140, (240, 200, 90), -1)
    cv2.rectangle(photo, (60, 330), (220, 470), (40, 90, 220), -1)
    cv2.imwrite(str(tmp_path / "in.png"), cv2.cvtColor(photo, cv2.COLOR_RGB2BGR))
    options = ["--model", str(directory), "--device", "cpu", "--backend", "eager", "--control", "canny"]
    options += ["--prompt", SETTINGS.prompt, "--seed", str(SETTINGS.seed), "--strength", "0.8"]
    result = CliRunner().invoke(app, ["image", str(tmp_path / "in.png"), str(tmp_path / "out.png"), *options])
    assert result.exit_code == 0, result.output

    lines = torch.from_numpy(CannyConditioner()(photo, SETTINGS).map)[None, None].expand(-1, 3, -1, -1) / 255
    expected = pipe(
        SETTINGS.prompt,
        image=1 - lines,  # this ControlNet wants black on white
        num_inference_steps=1,
        guidance_scale=0.0,
        controlnet_conditioning_scale=SETTINGS.conditioning_scale,
        generator=torch.Generator().manual_seed(SETTINGS.seed),
        output_type="np",
    ).images[0]
    painted = cv2.cvtColor(cv2.imread(str(tmp_path / "out.png")), cv2.COLOR_BGR2RGB).astype(np.float64) / 255
    assert painted.shape == (512, 512, 3)
    assert painted.std() > 0.05, "the random model must paint something, or the comparison says nothing"
    assert np.abs(painted - expected).max() <= 1e-2
