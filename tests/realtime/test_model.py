"""From a name on the command line to a warm engine, with real pipelines at tiny size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from pipelines.errors import CheckpointError
from pipelines.settings import Settings
from realtime.errors import BadInput
from realtime.model import load, wrap
from tests.pipelines import tiny
from tests.realtime.fakes import NumberPainter, flat_conditioners


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tmp_path_factory.mktemp("model"))[1]


def load_tiny(directory: Path | str, **options: Any) -> Any:
    return load(str(directory), **{"backend": "eager", "device": "cpu", **options})


def test_a_directory_becomes_a_model_that_paints(directory: Path) -> None:
    model = load_tiny(directory, dtype="fp32", size=(64, 128))
    assert model.about["size"] == [64, 128]
    assert (model.about["dtype"], model.about["device"], model.about["loras"]) == ("fp32", "cpu", [])
    assert model.about["controls"] == list(model.controls) == list(model.conditioners) == ["canny"]
    assert model.defaults.control == "canny"
    engine = model.engine()
    assert engine.max_batch == 1
    assert engine.painter.size == (64, 128)


def test_bf16_is_what_it_is_asked_to_be(directory: Path) -> None:
    model = load_tiny(directory, dtype="bf16")
    assert model.about["dtype"] == "bf16"
    assert model.painter.dtype is torch.bfloat16


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"dtype": "int8"}, "no precision 'int8'; use auto, fp16, bf16, fp32"),
        ({"device": "toaster"}, "no device 'toaster'"),
        ({"size": (65, 64)}, "multiples of 32"),
        ({"control": "depth"}, "no control 'depth'; it has canny, none"),
        ({"controlnets": ["pose=somewhere"]}, "no kind 'pose'"),
    ],
)
def test_what_cannot_be_had_is_bad_input(directory: Path, options: dict[str, Any], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        load_tiny(directory, **options)


def test_a_model_that_is_not_there_is_bad_input_and_a_broken_one_a_failure(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no model 'nope'"):
        load_tiny("nope")
    _, broken = tiny.save(tmp_path)
    weights = next((broken / "unet").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="unet"):
        load_tiny(broken)


class Bare(NumberPainter):
    """Some other preset defaults."""

    def __init__(self, defaults: Settings, **options: Any) -> None:
        super().__init__(**options)
        object.__setattr__(self.preset, "defaults", defaults)


@pytest.mark.parametrize(
    ("controls", "own", "asked", "control"),
    [
        (("canny", "sketch"), "sketch", None, "sketch"),
        (("canny", "sketch"), "depth", None, "canny"),
        (("canny", "sketch"), "canny", "sketch", "sketch"),
        (("canny", "sketch"), "canny", "none", "none"),
        (("depth",), "none", None, "none"),
        ((), "canny", None, "none"),
    ],
)
def test_the_control_that_sessions_start_with(controls: Any, own: Any, asked: str | None, control: str) -> None:
    model = wrap(Bare(Settings(control=own), controls=controls), flat_conditioners(), control=asked)
    assert model.defaults.control == model.about["defaults"]["control"] == control


def test_extra_controls_of_the_defaults_are_those_that_the_model_has() -> None:
    defaults = Settings(control="canny", extra_controls={"sketch": 0.5, "depth": 0.2})
    painter = Bare(defaults, controls=("canny", "sketch"))
    assert wrap(painter, flat_conditioners()).defaults.extra_controls == {"sketch": 0.5}
    assert wrap(painter, flat_conditioners(), control="sketch").defaults.extra_controls == {}
    assert wrap(painter, flat_conditioners(), control="none").defaults.extra_controls == {}


def test_the_engine_is_warm_for_the_first_control_and_for_text_alone() -> None:
    painter = NumberPainter()
    engine = wrap(painter, flat_conditioners()).engine()
    assert {settings.kinds for (settings,) in painter.painted} == {("canny",)}
    engine.warm_up_more()
    assert engine.is_warm
    assert {settings.kinds for (settings,) in painter.painted} == {("canny",), ()}
    text_only = NumberPainter(controls=())
    wrap(text_only, {}).engine()
    assert {settings.kinds for (settings,) in text_only.painted} == {()}
