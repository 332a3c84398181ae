"""Which parts fit which models, at full size and from configurations alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pipelines import controlnet, layout, unet
from pipelines.compatible import check, check_controlnet, check_lora
from pipelines.errors import CheckpointError, MisfitError
from pipelines.presets import EMBEDDED

SD15 = {
    "_class_name": "UNet2DConditionModel",
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": [320, 640, 1280, 1280],
    "layers_per_block": 2,
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
SD15_CANNY = {**controlnet.encoder_of(SD15), "conditioning_channels": 3}


@pytest.mark.parametrize(
    ("control", "main"),
    [
        (controlnet.SDXS_512_SKETCH, unet.SDXS_512),
        (controlnet.SD_TURBO_CONTROL, unet.SD_TURBO),
        (controlnet.SDXS_1024_CONTROL, unet.SDXS_1024),
        (SD15_CANNY, SD15),
    ],
)
def test_controlnets_that_fit(control: Mapping[str, Any], main: Mapping[str, Any]) -> None:
    check_controlnet("a/control", control, "a/model", main)


@pytest.mark.parametrize(
    ("control", "main", "words"),
    [
        (SD15_CANNY, unet.SDXS_512, "a/control doesn't fit a/model: it gives 13 residuals, and a/model takes 7"),
        (controlnet.SDXS_512_SKETCH, unet.SDXS_512_CONTEXT_1024, "768 wide, and a/model takes text embeddings 1024"),
        (SD15_CANNY, unet.SD_TURBO, "768 wide, and a/model takes text embeddings 1024 wide"),
        (controlnet.SDXS_1024_CONTROL, unet.SDXS_512, "2048 wide"),
        ({**controlnet.SDXS_512_SKETCH, "conditioning_channels": 1}, unet.SDXS_512, "maps of 1 channels"),
        (unet.SDXS_512, unet.SDXS_512, "no ControlNet of diffusers but a UNet2DConditionModel"),
    ],
)
def test_controlnets_that_do_not(control: Mapping[str, Any], main: Mapping[str, Any], words: str) -> None:
    with pytest.raises(MisfitError) as caught:
        check_controlnet("a/control", control, "a/model", main)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def lora(main: Mapping[str, Any], form: str) -> dict[str, list[int]]:
    """The matrices' shapes of a LoRA on every attention of a U-Net, named in one of the usual ways."""
    shapes = {}
    for name, tensor in layout.build(main).state_dict().items():
        if not name.endswith(("to_q.weight", "to_k.weight")):
            continue
        module = name.removesuffix(".weight")
        wide, deep = tensor.shape[:2]
        down, up = {
            "peft": (f"base_model.model.{module}.lora_A.weight", f"base_model.model.{module}.lora_B.weight"),
            "diffusers": (f"unet.{module}.lora_A.weight", f"unet.{module}.lora_B.weight"),
            "older": (f"unet.{module}.lora.down.weight", f"unet.{module}.lora.up.weight"),
            "kohya": (
                f"lora_unet_{module.replace('.', '_')}.lora_down.weight",
                f"lora_unet_{module.replace('.', '_')}.lora_up.weight",
            ),
        }[form]
        shapes |= {down: [8, deep], up: [wide, 8]}
    return shapes


@pytest.mark.parametrize("form", ["peft", "diffusers", "older", "kohya"])
def test_loras(form: str) -> None:
    shapes = lora(unet.SDXS_512, form)
    check_lora("anime", shapes, "a/model", unet.SDXS_512)
    check_lora("anime", {**shapes, "text_encoder.encoder.layers.0.lora_A.weight": [8, 768]}, "a/model", unet.SDXS_512)
    with pytest.raises(MisfitError, match=r"LoRA anime doesn't fit a/model: at .* 768 wide, and a/model 1024"):
        check_lora("anime", shapes, "a/model", unet.SDXS_512_CONTEXT_1024)
    with pytest.raises(MisfitError, match="which a/model doesn't have"):
        check_lora("full", lora(SD15, form), "a/model", unet.SDXS_512)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EMBEDDED, tmp_path / "model", ignore=shutil.ignore_patterns("*.safetensors")))


def change(file: Path, **values: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def test_a_whole_model_is_checked_without_its_weights(directory: Path) -> None:
    check("it", directory, vae=directory / "vae", controlnets={"its": directory / "controlnet"})


@pytest.mark.parametrize(
    ("file", "values", "words"),
    [
        ("unet/config.json", {"in_channels": 9}, "takes 9 channels and gives 32"),
        ("unet/config.json", {"cross_attention_dim": 768}, "text embeddings 768 wide, but its text encoder gives 64"),
        ("vae/config.json", {"latent_channels": 4}, "takes latents of 4 channels, but it gives 32"),
        ("vae/config.json", {"_class_name": "VQModel"}, "VQModel"),
        (
            "vae/config.json",
            {"_class_name": "AutoencoderTiny", "decoder_block_out_channels": [32] * 3},
            "4 times as large",
        ),
        ("model_index.json", {"text_encoder": ["transformers", "T5EncoderModel"]}, "T5EncoderModel as text_encoder"),
        ("model_index.json", {"_class_name": "FluxPipeline", "unet": None}, "FluxPipeline"),
        ("controlnet/config.json", {"in_channels": 4}, "latents of 4 channels"),
        ("scheduler/scheduler_config.json", {"_class_name": "NoScheduler"}, "it is no one-step model: "),
        ("scheduler/scheduler_config.json", {"prediction_type": "flow"}, "flow"),
    ],
)
def test_what_is_wrong_with_it_is_named(directory: Path, file: str, values: Mapping[str, Any], words: str) -> None:
    change(directory / file, **values)
    with pytest.raises((MisfitError, CheckpointError)) as caught:
        check("it", directory, vae=directory / "vae", controlnets={"its": directory / "controlnet"})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(directory: Path) -> None:
    (directory / "unet" / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"unet/config\.json is missing"):
        check("it", directory, vae=directory / "vae")
