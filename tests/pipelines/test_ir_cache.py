"""The converted graph is kept between starts, is the same graph, and is never a wrong or broken one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipelines import SDXSPipeline, Settings
from pipelines.backends import openvino_pieces as backend
from tests.pipelines import tiny

CONTROL = torch.zeros(1, 3, 128, 128)
PIECES = 3
SETTINGS = [Settings(prompt="a", seed=1)]


@pytest.fixture
def conversions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each conversion from here on, with an empty cache folder; a model has three pieces."""
    monkeypatch.setenv("SDXS_CACHE", str(tmp_path / "cache"))
    done: list[int] = []
    convert = backend.convert
    monkeypatch.setattr(backend, "convert", lambda *given: (done.append(1), convert(*given))[1])
    return done


def paint(directory: Path) -> torch.Tensor:
    return SDXSPipeline.from_pretrained(directory, backend="openvino", device="cpu")(CONTROL, SETTINGS)


def test_the_second_start_reads_what_the_first_converted(saved: tuple, conversions: list[int]) -> None:
    first, second = paint(saved[1]), paint(saved[1])
    assert len(conversions) == PIECES
    assert torch.equal(first, second)


def test_other_weights_are_another_graph(saved: tuple, conversions: list[int], tmp_path: Path) -> None:
    _, other = tiny.save(tmp_path, seed=5)
    assert not torch.allclose(paint(saved[1]), paint(other), atol=1e-2)
    assert len(conversions) == 2 * PIECES


def test_a_broken_file_is_made_anew(saved: tuple, conversions: list[int], tmp_path: Path) -> None:
    first = paint(saved[1])
    (graph,) = (tmp_path / "cache").glob("openvino-ascent-*/graph.xml")
    graph.write_text(graph.read_text()[:500])
    assert torch.equal(first, paint(saved[1]))
    assert len(conversions) == PIECES + 1
    paint(saved[1])
    assert len(conversions) == PIECES + 1


def test_a_folder_that_cannot_be_written_is_no_error(
    saved: tuple, conversions: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SDXS_CACHE", str(tmp_path / "file" / "cache"))
    paint(saved[1])
    assert len(conversions) == PIECES
