"""Which conditioners there are, and how their weights are found and read."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from pipelines import CheckpointError, Settings
from pipelines.conditioners import make_conditioners
from pipelines.errors import DownloadError
from pipelines.settings import KINDS
from tests.pipelines import annotators

CPU = torch.device("cpu")
HED = Settings(sketch_detector="hed")


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SDXS_MODELS", str(tmp_path))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    annotators.folder_of(tmp_path).mkdir(parents=True)
    return tmp_path


def test_each_kind_has_its_conditioner() -> None:
    made = make_conditioners(KINDS, device=CPU)
    assert {kind: conditioner.kind for kind, conditioner in made.items()} == {kind: kind for kind in KINDS}
    assert [made[kind].is_slow(Settings()) for kind in ("canny", "sketch", "depth")] == [False, False, True]
    assert list(make_conditioners(["depth", "canny"], device=CPU)) == ["depth", "canny"]


def test_nothing_is_loaded_before_it_is_asked_for(models: Path) -> None:
    with annotators.no_network() as asked:
        made = make_conditioners(KINDS, device=CPU)
        for kind in ("canny", "sketch"):
            made[kind].warm_up((64, 64), Settings())
        made["depth"].drawer()
    assert not asked


@pytest.mark.parametrize(("settings", "kind", "file"), [
    (Settings(), "depth", "dpt_hybrid-midas-501f0c75.pt"),
    (Settings(depth_estimator="zoe"), "depth", "ZoeD_M12_N.pt"),
    (Settings(depth_estimator="leres"), "depth", "res101.pth"),
    (HED, "sketch", "ControlNetHED.pth"),
])  # fmt: skip
def test_missing_weights_are_named_with_their_folder(models: Path, settings: Settings, kind: str, file: str) -> None:
    conditioner = make_conditioners(KINDS, device=CPU)[kind]  # type: ignore[index]
    with pytest.raises(DownloadError) as caught:
        conditioner.warm_up((64, 64), settings)
    sentence = str(caught.value)
    assert file in sentence
    assert str(annotators.folder_of(models)) in sentence
    assert "\n" not in sentence


def test_weights_are_read_once(models: Path) -> None:
    path = annotators.save("hed", models)
    sketch = make_conditioners(["sketch"], device=CPU)["sketch"]
    sketch.warm_up((64, 64), HED)
    path.unlink()
    sketch.warm_up((64, 64), HED)


class Trap:
    """Pickled, it would have the reader's Python call something."""

    def __reduce__(self) -> tuple[object, ...]:
        return exec, ("import sys; sys.trapped_by_a_pickle = True",)


def test_a_pickle_that_runs_code_is_refused(models: Path) -> None:
    torch.save({"block1": Trap()}, annotators.folder_of(models) / annotators.FILES["hed"])
    with pytest.raises(CheckpointError, match=r"ControlNetHED\.pth can't be read as weights"):
        make_conditioners(["sketch"], device=CPU)["sketch"].warm_up((64, 64), HED)
    assert not hasattr(sys, "trapped_by_a_pickle")


def test_a_file_that_was_cut_off_is_named(models: Path) -> None:
    path = annotators.save("hed", models)
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(CheckpointError, match=r"ControlNetHED\.pth can't be read as weights"):
        make_conditioners(["sketch"], device=CPU)["sketch"].warm_up((64, 64), HED)


@pytest.mark.parametrize(("content", "told"), [
    ({}, "tensors .* are missing"),
    ({"norm": torch.zeros(1, 4, 1, 1)}, "doesn't fit ControlNetHED_Apache2: size mismatch for norm"),
    ([1, 2], "holds no tensors"),
    ({"norm": 3}, "holds no tensors"),
])  # fmt: skip
def test_other_weights_are_named(models: Path, content: object, told: str) -> None:
    torch.save(content, annotators.folder_of(models) / annotators.FILES["hed"])
    with pytest.raises(CheckpointError, match=told):
        make_conditioners(["sketch"], device=CPU)["sketch"].warm_up((64, 64), HED)


def test_the_command_line_of_the_program_is_none_of_a_detectors_business(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LeReS's from_pretrained parses it."""
    monkeypatch.setattr(sys, "argv", ["sdxs-live", "serve", "--control", "depth"])
    with pytest.raises(DownloadError):
        make_conditioners(["depth"], device=CPU)["depth"].warm_up((64, 64), Settings(depth_estimator="leres"))
