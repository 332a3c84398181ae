"""One run's folder: whole models written in one piece, what stays linked, and what is missing named."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from pipelines import SDXSPipeline, Settings
from pipelines.errors import TrainingError
from pipelines.presets import read_preset
from pipelines.training.model import Model
from pipelines.training.run import Run, write_model
from tests.pipelines import tiny


class NamedRecipe:
    name, teacher = "debug", ""


def run(folder: Path, **options: Any) -> Run:
    return Run(folder=folder, recipe=NamedRecipe(), **options)  # type: ignore[arg-type]


def test_a_model_with_one_part_exchanged_is_whole_and_loads(tmp_path: Path) -> None:
    _, base = tiny.save(tmp_path)
    torch.manual_seed(9)
    other = tiny.unet()
    target = tmp_path / "stage" / "model"
    target.parent.mkdir()
    preset = dataclasses.replace(read_preset(base), size=(64, 64), name="mine")
    write_model(base, target, {"unet": (other, other.state_dict())}, preset=preset)
    loaded = Model.load(target)
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in loaded.unet.state_dict().items())
    assert (target / "vae" / "diffusion_pytorch_model.safetensors").stat().st_nlink == 2, "what stays is linked"
    assert loaded.preset is not None
    assert (loaded.preset.name, loaded.preset.size) == ("mine", (64, 64))
    pipeline = SDXSPipeline.from_pretrained(target, device="cpu", backend="eager")
    picture = pipeline(torch.rand(1, 3, 64, 64), [Settings(prompt="a")])
    assert picture.shape == (1, 3, 64, 64)


def test_a_model_is_written_over_the_last_one_and_its_links_are_not_touched(tmp_path: Path) -> None:
    _, base = tiny.save(tmp_path)
    before = Model.load(base).unet.conv_in.weight.clone()
    target, other = tmp_path / "model-2", tiny.unet()
    for _ in range(2):
        write_model(base, target, {"unet": (other, other.state_dict())}, half=True)
    assert torch.equal(Model.load(base).unet.conv_in.weight, before)
    assert json.loads((target / "model_index.json").read_text())["unet"] == ["diffusers", "UNet2DConditionModel"]
    assert not [each.name for each in tmp_path.iterdir() if each.suffix in (".part", ".old")]


def test_a_missing_stage_is_named_with_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(
        TrainingError, match=r"one-step needs the stage unet, .*sdxs-live train unet --recipe debug --out"
    ):
        run(tmp_path).model("unet", wanted_by="one-step")
    with pytest.raises(TrainingError, match="needs the stage teacher"):
        run(tmp_path).teacher_of("decoder")
    assert run(tmp_path, teacher="sd-turbo").teacher_of("decoder") == "sd-turbo"
