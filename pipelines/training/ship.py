"""The embedded model's directory from what a run left: half-precision weights, and what the model says of itself."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from pipelines.backends.quantised import FOLDER
from pipelines.errors import TrainingError
from pipelines.presets import Preset, Style, read_preset
from pipelines.settings import Settings
from pipelines.training.model import Model
from pipelines.training.run import write_model
from pipelines.training.shipped import FIRST, NOTE, PRESETS

_WEIGHTS = (
    *(f"{part}/diffusion_pytorch_model.safetensors" for part in ("unet", "controlnet", "vae")),
    "text_encoder/model.safetensors",
)


def ship(model: Path, target: Path) -> None:
    """Write ``model`` (a directory that a stage left) to ``target``; the card that lies there stays, the int8 form,
    which belongs to other weights, goes. Raises TrainingError where there is no model."""
    if not (model / "model_index.json").is_file():
        raise TrainingError(f"There is no model in {model}: train all stages first.")
    loaded = Model.load(model)
    parts = {
        "unet": loaded.unet,
        "vae": loaded.vae,
        "text_encoder": loaded.text_encoders[0],
        "controlnet": next(iter(loaded.controlnets.values())),
    }
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "model"
        weights = {name: (module, module.state_dict()) for name, module in parts.items()}
        write_model(model, written, weights, preset=said(read_preset(model)), half=True)
        target.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(target / FOLDER, ignore_errors=True)
        for part in written.iterdir():
            if part.is_dir():
                shutil.rmtree(target / part.name, ignore_errors=True)
                shutil.copytree(part, target / part.name)
            else:
                shutil.copy2(part, target / part.name)


def said(trained: Preset) -> Preset:
    """The preset that ships, with the controls that were trained."""
    return dataclasses.replace(
        trained,
        name="embedded",
        licence="Apache-2.0",
        note=NOTE,
        styles=tuple(Style(name=name, prompt=prompt) for name, prompt in PRESETS),
        defaults=Settings(prompt=FIRST, control="canny", canny_low=100, canny_high=200, init_strength=0.7),
    )


def is_shipped(model: Path, target: Path) -> bool:
    """Whether the weights in ``target`` are those of ``model``, in half precision."""
    for weights in _WEIGHTS:
        theirs, ours = model / weights, target / weights
        if not (theirs.is_file() and ours.is_file()):
            return False
        there, here = load_file(ours), load_file(theirs)
        if there.keys() != here.keys() or not all(torch.equal(there[name], _half(here[name])) for name in here):
            return False
    return True


def _half(value: Tensor) -> Tensor:
    return value.half() if value.is_floating_point() else value
