"""The recipes' teachers as their repositories are laid out, behind a hub on loopback, with tiny networks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from pipelines.errors import CheckpointError, DownloadError
from pipelines.training.model import Model
from pipelines.training.recipes import RECIPES, find_recipe
from tests.pipelines.fake_hub import FakeHub, files_of
from tests.pipelines.training import tiny_teacher

pytestmark = pytest.mark.filterwarnings("ignore")  # third-party deprecations
FULL = ("sd15-512", "sd21-512")

#: As SD 1.5 and 2.1 base were published: a sampler for many steps, whose first options no single step knows.
PNDM = {
    "_class_name": "PNDMScheduler",
    "_diffusers_version": "0.6.0",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "clip_sample": False,
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "trained_betas": None,
}
EULER = {**PNDM, "_class_name": "EulerDiscreteScheduler", "timestep_spacing": "leading", "interpolation_type": "linear"}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return files_of(tiny_teacher.save(tmp_path_factory.mktemp("tiny")))


@pytest.fixture
def hub(teacher: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """Each recipe's repositories under their names, with weights in both precisions and pickled beside each other."""
    base = {name: content for name, content in teacher.items() if not name.startswith("controlnet/")}
    control = {name.split("/")[1]: content for name, content in teacher.items() if name.startswith("controlnet/")}
    base["scheduler/scheduler_config.json"] = json.dumps(PNDM).encode()
    for name in list(base):
        if name.endswith(".safetensors"):
            base[name.replace(".safetensors", ".fp16.safetensors")] = b"half"
            base[name.replace(".safetensors", ".bin")] = b"pickle"
    base |= {"safety_checker/config.json": b"{}", "v1-5-pruned.ckpt": b"pickle"}
    control |= {"diffusion_pytorch_model.bin": b"pickle", "diffusion_pytorch_model.fp16.safetensors": b"half"}
    repos = {find_recipe(name).teacher: base for name in FULL}
    repos |= {find_recipe(name).teacher_controlnets[0].partition("=")[2]: control for name in FULL}
    monkeypatch.setenv("SDXS_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    with FakeHub(repos) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.endpoint)
        yield running


@pytest.mark.parametrize("name", FULL)
def test_a_recipe_s_teacher_and_its_controlnet_are_fetched_and_load(name: str, hub: FakeHub) -> None:
    recipe = find_recipe(name)
    model = Model.load(recipe.teacher, controlnets=recipe.teacher_controlnets)
    assert set(model.controlnets) == {"canny"}
    assert not model.inverted, "these ControlNets take white lines on black, as canny is drawn"
    assert model.diffusion.prediction == "epsilon"
    assert next(model.unet.parameters()).dtype == torch.float32
    assert not [path for path in hub.fetched() if path.endswith((".bin", ".ckpt")) or ".fp16." in path]
    assert not any(parameter.requires_grad for parameter in model.unet.parameters())
    hub.asked.clear()
    Model.load(recipe.teacher, controlnets=recipe.teacher_controlnets)
    assert hub.asked == []


def test_the_scheduler_that_sdxl_comes_with_is_known(hub: FakeHub) -> None:
    recipe = find_recipe("sd15-512")
    files = dict(hub.repos[recipe.teacher])
    hub.repos[recipe.teacher] = {**files, "scheduler/scheduler_config.json": json.dumps(EULER).encode()}
    assert Model.load(recipe.teacher).diffusion.timesteps == 1000


def test_weights_in_several_pieces_are_refused_in_a_sentence(hub: FakeHub) -> None:
    recipe = find_recipe("sd15-512")
    files = {name: content for name, content in hub.repos[recipe.teacher].items() if "unet/diffusion" not in name}
    stem = "unet/diffusion_pytorch_model"
    pieces = {f"{stem}-0000{n}-of-00002.safetensors": save({"a": torch.zeros(1)}) for n in (1, 2)}
    hub.repos[recipe.teacher] = {**files, **pieces, f"{stem}.safetensors.index.json": b"{}"}
    with pytest.raises(CheckpointError, match="several pieces, which this tool doesn't put together"):
        Model.load(recipe.teacher)
    assert not hub.fetched(".safetensors")


def test_without_a_network_all_that_is_missing_is_named(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    recipe = find_recipe("sdxl-1024")
    with pytest.raises(DownloadError) as error:
        Model.load(recipe.teacher, controlnets=recipe.teacher_controlnets)
    assert "stabilityai/stable-diffusion-xl-base-1.0" in str(error.value)
    assert "diffusers/controlnet-canny-sdxl-1.0" in str(error.value)


def test_every_recipe_is_whole() -> None:
    for name, recipe in RECIPES.items():
        assert recipe.name == name
        assert recipe.about.endswith(".")
        assert bool(recipe.teacher) != (recipe.teacher_plan is not None), "a teacher is either given or trained"
        assert all(side % 64 == 0 for side in recipe.size)
        assert all("=" in each for each in recipe.teacher_controlnets)
