"""A trained painter as a model directory in the diffusers layout: float16 safetensors, preset, readable configs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from diffusers import StableDiffusionControlNetPipeline

from pipelines.training.one_step import Painter, build_scheduler

#: The studio's buttons: name and prompt.
PRESETS = (
    ("Ink", "ink drawing"),
    ("Neon", "neon lights at night"),
    ("Blueprint", "blueprint"),
    ("Chalk", "chalk on a blackboard"),
    ("Stained glass", "stained glass window"),
    ("Gold", "gold on black lacquer"),
    ("Paper cut", "paper cut layers"),
    ("Porcelain", "white porcelain with cobalt lines"),
    ("Clay", "terracotta sculpture"),
    ("Map", "topographic map"),
    ("Aurora", "northern lights"),
    ("Pop art", "pop art"),
)


def export(painter: Painter, folder: Path, *, name: str) -> None:
    """Write the directory, replacing the weights and configs of an older one; other files (the card) stay.

    The painter's own weights stay float32.
    """
    partial = folder.with_name(folder.name + ".part")
    shutil.rmtree(partial, ignore_errors=True)
    models = (painter.vae, painter.unet, painter.controlnet, painter.text_encoder)
    for model in models:
        model.half()
    _pipeline(painter).save_pretrained(partial, safe_serialization=True)
    for model in models:
        model.float()
    for weights in partial.rglob("*.safetensors"):
        weights.chmod(0o644)  # readable for every user of an installed package
    shutil.rmtree(partial / "tokenizer")
    shutil.copytree(painter.tokenizer.name_or_path, partial / "tokenizer")
    (partial / "preset.json").write_text(json.dumps(_preset(name), indent=2) + "\n", encoding="utf-8")
    folder.mkdir(parents=True, exist_ok=True)
    for part in sorted(partial.iterdir()):
        target = folder / part.name
        if target.is_dir():
            shutil.rmtree(target)
        part.replace(target)
    partial.rmdir()


def _pipeline(painter: Painter) -> StableDiffusionControlNetPipeline:
    return StableDiffusionControlNetPipeline(
        vae=painter.vae,
        text_encoder=painter.text_encoder,
        tokenizer=painter.tokenizer,
        unet=painter.unet,
        controlnet=painter.controlnet,
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


NOTE = (
    "This small model knows styles, not subjects: words alone give it only a ground to paint on. Draw something, or "
    "let it repaint your camera."
)


def _preset(name: str) -> dict[str, object]:
    return {
        "name": name,
        "size": [256, 256],
        "licence": "Apache-2.0",
        "note": NOTE,
        # A drawing is lines too: the one ControlNet takes both.
        "controls": [
            {"kind": kind, "folder": "controlnet", "polarity": "white on black"} for kind in ("canny", "sketch")
        ],
        "styles": [{"name": label, "prompt": prompt} for label, prompt in PRESETS],
        "defaults": {"prompt": PRESETS[0][1], "canny_low": 100, "canny_high": 200},
    }
