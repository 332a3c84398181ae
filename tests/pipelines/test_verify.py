"""``--verify``: what paints other pictures than eager is caught, whichever way it is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from pipelines import SDXSPipeline
from pipelines.backends.compiled import CompiledBackend
from pipelines.backends.eager import EagerBackend
from pipelines.errors import BackendError
from pipelines.verify import verify
from realtime import model
from realtime.cli import app
from tests.pipelines import families, tiny
from tests.pipelines.test_families import peft_adapter

CPU = torch.device("cpu")
SIZE = (64, 64)


class Broken(EagerBackend):
    """Eager, but for what ``change`` does to the pictures; built for batches."""

    name = "broken"

    def __init__(self, pipe: SDXSPipeline, change: Callable[[Tensor, Any, Any], Tensor]) -> None:
        super().__init__(pipe._graph, CPU)
        self.batches = (1, 2, 4)
        self._change = change
        pipe._backend, pipe._max_batch = self, 4

    def paint(self, frames: Any, nets: Any, form: Any, size: Any) -> Tensor:
        return self._change(super().paint(frames, nets, form, size), nets, form)


@pytest.fixture
def pipe(tmp_path: Path) -> SDXSPipeline:
    """With two ControlNets, and a LoRA of its own that is on from the start."""
    theirs, directory = tiny.save(tmp_path)
    peft_adapter(theirs, tmp_path / "style")
    _, depth = families.controlnet_folder(tmp_path, seed=11)
    pipe = SDXSPipeline.from_pretrained(
        directory,
        backend="eager",
        device="cpu",
        size=SIZE,
        loras=[f"style={tmp_path / 'style'}"],
        controlnets=[f"depth={depth}"],
    )
    assert pipe.preset.defaults.lora == "style"
    return pipe


def test_eager_is_exactly_itself(pipe: SDXSPipeline) -> None:
    found = verify(pipe)
    assert str(found) == "Verified: eager paints what eager paints: exactly."
    assert found.holds


def test_compiled_with_a_lora(pipe: SDXSPipeline) -> None:
    pipe._backend = CompiledBackend(pipe._graph, CPU, compile_=lambda what: what, batches=(1, 2, 4))
    pipe._max_batch = 4
    found = verify(pipe)
    assert found.psnr > 55
    assert 0 < found.largest < 0.01
    assert str(found).startswith("Verified: compiled paints what eager paints: ")


@pytest.mark.parametrize("name", ["sd2", "sdxl", "sdxs_0_9"])
def test_openvino(name: str, tmp_path: Path) -> None:
    _, directory = getattr(families, name)(tmp_path)
    found = verify(SDXSPipeline.from_pretrained(directory, backend="openvino", device="cpu", size=SIZE))
    assert found.psnr > 55


@pytest.mark.parametrize(
    "change",
    [
        lambda pictures, nets, form: pictures // 2 + 60,
        lambda pictures, nets, form: pictures.flip(0) if len(pictures) > 2 else pictures,
        lambda pictures, nets, form: pictures.flip(1) if form == "yuv" else pictures,
        lambda pictures, nets, form: pictures.roll(8, 1) if not nets else pictures,
        lambda pictures, nets, form: pictures.roll(8, 1) if len(nets) == 2 else pictures,
    ],
    ids=["colours", "rows of another picture", "planes", "text alone", "two controls"],
)
def test_other_pictures_are_refused(pipe: SDXSPipeline, change: Callable[[Tensor, Any, Any], Tensor]) -> None:
    Broken(pipe, change)
    with pytest.raises(
        BackendError, match=r"^The broken backend paints other pictures than eager: \d+ dB, where 55 dB"
    ):
        verify(pipe)


def test_a_backend_may_state_its_own_bound(pipe: SDXSPipeline) -> None:
    """Such as one in int8, whose pictures are near and not the same."""
    coarse = Broken(pipe, lambda pictures, nets, form: pictures // 8 * 8 + 4)
    with pytest.raises(BackendError):
        verify(pipe)
    coarse.least_psnr = 40.0
    assert 38 < verify(pipe).psnr < 45
    coarse.least_psnr = 55.0
    with pytest.raises(BackendError, match="52 dB are the least"):
        verify(pipe)


def test_the_command_line_says_it(saved: tuple, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["image", "-", str(tmp_path / "out.png"), "--model", str(saved[1]), "--size", "64", "--backend", "eager"]
    result = CliRunner().invoke(app, [*command, "--verify"])
    assert result.exit_code == 0, result.output
    assert "Verified: eager paints what eager paints: exactly." in result.output

    def refuse(loaded: model.Model) -> str:
        raise BackendError("It paints other pictures.")

    monkeypatch.setattr(model, "verify", refuse)
    (tmp_path / "out.png").unlink()
    result = CliRunner().invoke(app, [*command, "--verify"])
    assert result.exit_code == 2
    assert "It paints other pictures." in result.output
    assert not (tmp_path / "out.png").exists()
