"""One run's folder: the stages share it, each finds there what the earlier ones left.

DIR/STAGE/model/    the whole model as that stage leaves it, in the diffusers layout
DIR/STAGE/PART/     checkpoints, log, samples of one phase (without PART where the stage has one)
DIR/samples/        the teacher's own samples
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter
from safetensors.torch import save_file

from pipelines.errors import TrainingError
from pipelines.presets import Preset, read_preset

if TYPE_CHECKING:
    from pipelines.training.phase import Weights
    from pipelines.training.recipe import Recipe

#: In their order.
STAGES = ("teacher", "decoder", "unet", "one-step", "controlnet", "gan-finetune")
_ADAPTER = TypeAdapter(Preset)


@dataclass(frozen=True, kw_only=True)
class Run:
    """``folder``: DIR. ``data``: what ``--data`` named (``datasets.open_data`` reads it); empty for the recipe's own.
    ``teacher``: what ``--teacher`` named: a model's name, directory or repository instead of one trained here.
    ``ends``: the ``time.monotonic()`` at which this piece of it is over."""

    folder: Path
    recipe: Recipe
    data: str = ""
    teacher: str = ""
    ends: float = math.inf

    def model(self, stage: str, *, wanted_by: str) -> Path:
        """The model directory that ``stage`` left. Raises TrainingError naming it and the command that makes it."""
        directory = self.folder / stage / "model"
        if not (directory / "model_index.json").is_file():
            raise TrainingError(
                f"The stage {wanted_by} needs the stage {stage}, which has not been trained to its end in "
                f"{self.folder}: run `sdxs-live train {stage} --recipe {self.recipe.name} --out {self.folder}` first."
            )
        return directory

    def has(self, stage: str) -> bool:
        """Whether ``stage`` left a model."""
        return (self.folder / stage / "model" / "model_index.json").is_file()

    def teacher_of(self, stage: str) -> str | Path:
        """The teacher: what was asked for, the recipe's, or the one trained in this run. Raises TrainingError."""
        return self.teacher or self.recipe.teacher or self.model("teacher", wanted_by=stage)


def write_model(
    base: Path,
    folder: Path,
    parts: Mapping[str, tuple[Any, Weights]],
    *,
    preset: Preset | None = None,
    half: bool = False,
    without: Collection[str] = (),
) -> None:
    """Write ``folder`` as the model of ``base`` with some parts exchanged or added, in one piece.

    ``parts``: by folder name (``unet``, ``vae``, ``controlnet``, ``text_encoder``), a module of diffusers or
    transformers, for its configuration, and its weights. What stays is linked, not copied, where the file system can.
    ``preset``: if not the base's. ``half``: store the given weights in float16. ``without``: the base's parts, by
    folder name, that are left out.
    """
    partial = folder.with_name(folder.name + ".part")
    shutil.rmtree(partial, ignore_errors=True)
    others = {*parts, *without, "model_index.json", "preset.json"}
    shutil.copytree(base, partial, copy_function=_link, ignore=_without(others, base))
    index = json.loads((base / "model_index.json").read_text(encoding="utf-8"))
    index = {name: entry for name, entry in index.items() if name not in without}
    for name, (module, weights) in parts.items():
        _write_part(partial / name, module, weights, half)
        index[name] = [_library(module), type(module).__name__]
    (partial / "model_index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    write_preset(partial, preset or read_preset(base))
    old = folder.with_name(folder.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.replace(old)
    partial.replace(folder)
    shutil.rmtree(old, ignore_errors=True)


def write_preset(folder: Path, preset: Preset) -> None:
    """Beside the weights, what else is known of a model."""
    said = _ADAPTER.dump_python(preset, mode="json")
    (folder / "preset.json").write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")


def _library(module: Any) -> str:
    own = type(module).__module__
    if own.startswith("pipelines."):  # diffusers takes a class from any module that is named
        return own
    return "transformers" if hasattr(module.config, "save_pretrained") else "diffusers"


def _write_part(folder: Path, module: Any, weights: Weights, half: bool) -> None:
    folder.mkdir(parents=True)
    if _library(module) == "transformers":
        module.config.architectures = [type(module).__name__]
        module.config.save_pretrained(folder)
        file = folder / "model.safetensors"
    else:
        module.save_config(folder)
        file = folder / "diffusion_pytorch_model.safetensors"
    stored = {
        name: (value.half() if half and value.is_floating_point() else value).contiguous().clone()
        for name, value in weights.items()
    }
    save_file(stored, file, metadata={"format": "pt"})
    file.chmod(0o644)


def _link(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, target)
    return target


def _without(names: set[str], top: Path) -> Any:
    """Left out at the top alone: a folder may hold a file of the same name."""
    return lambda folder, _: names if Path(folder) == top else set()
