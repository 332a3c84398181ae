"""The int8 form: what ships is of the weights that ship, is never taken when stale, and paints what f32 paints."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipelines import SDXSPipeline, Settings
from pipelines.backends import openvino_pieces, processor, quantised
from pipelines.backends.openvino import OpenVINOBackend
from pipelines.backends.quantised import BOUND, FOLDER, MANIFEST
from pipelines.errors import BackendError, PipelineError
from pipelines.presets import find_model
from pipelines.training import calibration
from pipelines.training.quantise_command import quantise

EMBEDDED = find_model("embedded")
assert EMBEDDED is not None
MEASURED = json.loads((EMBEDDED / FOLDER / MANIFEST).read_text())


def load(directory: Path, backend: str = "openvino-int8", **options: Any) -> SDXSPipeline:
    return SDXSPipeline.from_pretrained(directory, backend=backend, device="cpu", **options)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    assert EMBEDDED is not None
    return Path(shutil.copytree(EMBEDDED, tmp_path / "embedded"))


@pytest.fixture(scope="module")
def pair() -> tuple[SDXSPipeline, SDXSPipeline]:
    assert EMBEDDED is not None
    return load(EMBEDDED, "openvino"), load(EMBEDDED)


def able(monkeypatch: pytest.MonkeyPatch, pays: bool) -> None:
    monkeypatch.setattr(processor, "multiplies_bytes", lambda: pays)


def test_the_shipped_form_is_of_the_shipped_weights() -> None:
    """Whoever trains the embedded model anew makes its form anew: ``python -m pipelines.training quantise``."""
    assert EMBEDDED is not None
    pipe = load(EMBEDDED, "eager")
    assert quantised.find_form(EMBEDDED, pipe._graph) is not None


def test_what_was_measured_is_recorded() -> None:
    styles = [style.name for style in load(Path("embedded"), "eager").preset.styles]
    for figures in MEASURED["psnr"].values():
        assert sorted(figures) == sorted(styles)
        assert min(figures.values()) >= MEASURED["least_psnr"] >= BOUND
    assert "f32" in MEASURED["psnr"]
    assert {"openvino", "nncf"} <= set(MEASURED["versions"])


def test_its_pictures_are_as_near_as_recorded(pair: tuple[SDXSPipeline, SDXSPipeline]) -> None:
    """On photographs that aren't among those recorded; one decibel for another processor's rounding."""
    exact, int8 = pair
    draw = calibration._Maps(exact)
    photograph = calibration.held_out_photographs(["immunohistochemistry"])["immunohistochemistry"]
    for index, style in enumerate(exact.preset.styles):
        settings = Settings(prompt=style.prompt, seed=index, control=("canny", "sketch", "none")[index % 3])
        assert calibration._psnr(exact, int8, draw(photograph, settings), settings) >= BOUND - 1, style.name


def test_it_is_read_without_a_conversion_and_without_nncf(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SDXS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(sys.modules, "nncf", None)
    monkeypatch.setattr(openvino_pieces, "converted", lambda *_: pytest.fail("converted"))
    able(monkeypatch, True)
    pipe = load(copy, "auto")
    for settings in (Settings(prompt="comic book"), Settings(control="none"), Settings(control="sketch")):
        pipe.prepare(settings)
        maps = torch.zeros(1, len(settings.kinds), 256, 256, dtype=torch.uint8)
        pipe.paint_uint8(maps, [settings], form="yuv")
    assert pipe.backend_name == "openvino-int8"
    assert not list((tmp_path / "cache").glob("*"))


@pytest.mark.parametrize("pays", [True, False])
def test_auto_takes_it_where_the_cpu_multiplies_bytes(pays: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    able(monkeypatch, pays)
    pipe = load(Path("embedded"), "auto")
    assert pipe.backend_name == ("openvino-int8" if pays else "openvino")
    assert pipe.least_psnr == (MEASURED["least_psnr"] if pays else None)


def test_auto_leaves_a_bad_form_alone(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    able(monkeypatch, True)
    file = copy / FOLDER / MANIFEST
    file.write_text(json.dumps({**MEASURED, "least_psnr": BOUND - 0.1}))
    assert load(copy, "auto").backend_name == "openvino"
    assert load(copy).backend_name == "openvino-int8", "who asks for it gets it"


def stale_weights(copy: Path) -> None:
    from safetensors.torch import load_file, save_file

    file = copy / "vae" / "diffusion_pytorch_model.safetensors"
    state = load_file(file)
    state["decoder.layers.0.bias"][0] += 0.01
    save_file(state, file)


def other_step(copy: Path) -> None:
    file = copy / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "beta_end": 0.013}))


def cut_short(copy: Path) -> None:
    (copy / FOLDER / "ascent.bin").unlink()


def no_manifest(copy: Path) -> None:
    (copy / FOLDER / MANIFEST).write_text("{")


@pytest.mark.parametrize("damage", [stale_weights, other_step, cut_short, no_manifest])
def test_a_form_of_something_else_is_never_taken(copy: Path, damage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    able(monkeypatch, True)
    damage(copy)
    assert load(copy, "auto").backend_name == "openvino"
    with pytest.raises(BackendError, match=r"no int8 form of these weights.*training quantise"):
        load(copy)


def test_a_broken_file_is_named(copy: Path) -> None:
    (copy / FOLDER / "ascent.xml.gz").write_bytes((copy / FOLDER / "control0.bin").read_bytes()[:100])
    with pytest.raises(BackendError, match=r"openvino-int8 can't be read.*training quantise"):
        load(copy)


def test_a_lora_is_painted_in_f32(copy: Path, tmp_path: Path) -> None:
    """Where it changes something, and int8 comes back when it is off."""
    from safetensors.torch import save_file

    layer = "unet.up_blocks.1.resnets.1.conv2"
    generator = torch.Generator().manual_seed(1)
    tensors = {f"{layer}.lora_A.weight": 0.5 * torch.randn(2, 96, 3, 3, generator=generator)}
    tensors[f"{layer}.lora_B.weight"] = 0.5 * torch.randn(96, 2, 1, 1, generator=generator)
    save_file(tensors, tmp_path / "style.safetensors")
    loras = [f"style={tmp_path / 'style.safetensors'}"]
    exact, int8 = load(copy, "eager", loras=loras), load(copy, loras=loras)
    plain = Settings(prompt="comic book", seed=1, control="none")
    styled = plain.replace(lora="style")
    maps = torch.zeros(1, 0, 256, 256, dtype=torch.uint8)
    before = int8.paint_uint8(maps, [plain]).clone()
    backend = int8._backend
    assert isinstance(backend, OpenVINOBackend)
    picture = int8.paint_uint8(maps, [styled]).int()
    expected = exact.paint_uint8(maps, [styled]).int()
    assert not any(node.get_type_name() == "FakeQuantize" for node in backend.pieces.ascent().get_ops())
    assert (picture - expected).abs().float().mean() < 0.5
    assert (picture - before.int()).abs().max() > 5
    assert torch.equal(int8.paint_uint8(maps, [plain]), before)


def test_making_one_without_nncf_says_what_to_install(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(PipelineError, match=r"sdxs-live\[quantise\]"):
        quantise(copy, count=1)


def test_samples_are_the_same_each_time() -> None:
    pipe = load(Path("embedded"), "openvino")
    backend = pipe._backend
    assert isinstance(backend, OpenVINOBackend)
    first, again = (calibration.calibration(pipe, backend.folded, count=7) for _ in range(2))
    for left, right in zip(first, again, strict=True):
        assert (left.maps == right.maps).all()
        assert all((left.inputs[name] == right.inputs[name]).all() for name in left.inputs)
    scales = {sample.scale.item() for sample in first}
    assert {0.0, 0.5, 0.75, 1.0} == scales
    assert all(0 < sample.maps.mean() < 0.5 for sample in first)
    rough = [float(np.diff(sample.inputs["noise"], axis=-1).std()) for sample in first]
    assert rough[0] == pytest.approx(2**0.5, abs=0.1)  # noise alone
    assert max(rough[1], rough[3]) < 0.5 * rough[0]  # 0.7 of a camera's colours in it, and nothing but these
