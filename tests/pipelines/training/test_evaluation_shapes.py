"""The judge of the drawn world: right about pictures it never saw, kept beside the run, the same each time."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from pipelines.errors import TrainingError
from pipelines.folders import cache_folder
from pipelines.training.data.dataset import open_data
from pipelines.training.evaluation.fidelity import fid, kid
from pipelines.training.evaluation.shapes import ShapesJudge, obeyed_scores, open_judge, read_caption


@pytest.fixture(scope="module")
def folder() -> Path:
    """Where ``sdxs-live eval`` keeps it too: it is trained once for all tests."""
    return cache_folder() / "judges"


@pytest.fixture(scope="module")
def judge(folder: Path) -> ShapesJudge:
    return open_judge(folder)


@pytest.fixture(scope="module")
def drawn() -> tuple[list[np.ndarray], list[str]]:
    _, held_out = open_data("shapes", (64, 64))
    return [held_out.picture(index) for index in range(300)], list(held_out.prompts)[:300]


def test_it_reads_pictures_that_were_held_out(judge: ShapesJudge, drawn: tuple[list[np.ndarray], list[str]]) -> None:
    pictures, prompts = drawn
    shares = judge.obeyed(pictures, prompts)
    assert min(shares.values()) > 0.95, shares
    softer = judge.obeyed([cv2.GaussianBlur(picture, (0, 0), 1.2) for picture in pictures], prompts)
    assert softer["all"] > 0.9, softer


def test_it_says_when_prompts_are_not_obeyed(judge: ShapesJudge, drawn: tuple[list[np.ndarray], list[str]]) -> None:
    pictures, prompts = drawn
    shares = judge.obeyed([*pictures[1:], pictures[0]], prompts)
    assert shares["all"] < 0.05
    assert all(shares[part] < 0.35 for part in ("colour", "form", "ground"))
    grey = judge.obeyed([np.full((64, 64, 3), 128, np.uint8)] * 300, prompts)
    assert grey["all"] < 0.05


def test_its_features_tell_the_world_from_others(judge: ShapesJudge, drawn: tuple[list[np.ndarray], list[str]]) -> None:
    pictures, _ = drawn
    halves = judge(pictures[::2]), judge(pictures[1::2])
    blurred = judge([cv2.GaussianBlur(picture, (0, 0), 5) for picture in pictures[1::2]])
    one_only = judge([pictures[0]] * 150)
    for measure in (fid, lambda a, b: kid(a, b)[0]):
        same = measure(*halves)
        assert measure(halves[0], blurred) > 2 * same
        assert measure(halves[0], one_only) > 5 * same, "a collapsed model"


def test_it_is_kept_and_the_same(judge: ShapesJudge, folder: Path, drawn: tuple[list[np.ndarray], list[str]]) -> None:
    (file,) = folder.iterdir()
    written = file.stat().st_mtime_ns
    again = open_judge(folder)
    np.testing.assert_array_equal(again(drawn[0][:20]), judge(drawn[0][:20]))
    assert file.stat().st_mtime_ns == written


def test_larger_pictures_are_looked_at_smaller(judge: ShapesJudge) -> None:
    _, held_out = open_data("shapes", (128, 128))
    shares = judge.obeyed([held_out.picture(index) for index in range(60)], list(held_out.prompts)[:60])
    assert shares["all"] > 0.9


def test_captions_are_read_or_refused() -> None:
    assert read_caption("a red circle on a black ground") == (0, 0, 1)
    for wrong in ("a red cow on a black ground", "ink drawing", ""):
        with pytest.raises(TrainingError, match="no caption of the drawn world"):
            read_caption(wrong)
    assert [score.metric for score in obeyed_scores({"all": 0.5}, about="")] == ["obeyed-all"]
