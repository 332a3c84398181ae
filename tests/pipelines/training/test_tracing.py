"""Cut-outs as strokes: all of the lines, few points, nothing doubled."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from pipelines.album import Album
from pipelines.settings import Settings
from pipelines.training.drawn.tracing import strokes_of, write_album
from tests.pipelines.training.small_world import SUBJECTS, a_subject, small_world

NEAR = np.ones((5, 5), np.uint8)


def drawn(strokes: list[np.ndarray], size: tuple[int, int] = (256, 256)) -> np.ndarray:
    sheet = np.zeros(size, np.uint8)
    cv2.polylines(sheet, [each.astype(np.int32) for each in strokes], False, 255, 1)
    return sheet


def test_strokes_are_the_lines_they_were_traced_from() -> None:
    sheet = np.zeros((256, 256), np.uint8)
    cv2.circle(sheet, (80, 90), 50, 255, 1)
    cv2.line(sheet, (150, 40), (220, 200), 255, 1)
    cv2.line(sheet, (220, 40), (150, 200), 255, 1)
    sheet[250, 250] = 255  # a speck
    strokes = list(strokes_of(sheet))
    again = drawn(strokes)
    assert not again[245:, 245:].any()
    sheet[250, 250] = 0
    assert (again & ~cv2.dilate(sheet, NEAR)).sum() == 0
    missing = sheet & ~cv2.dilate(again, NEAR)
    assert (missing > 0).mean() < 0.01 * (sheet > 0).mean()
    assert sum(map(len, strokes)) < (sheet > 0).sum() / 4, "straight lines need two points"
    closed = max(strokes, key=len)
    assert np.abs(closed[0].astype(int) - closed[-1]).max() <= 1


def test_nothing_gives_no_strokes() -> None:
    assert not list(strokes_of(np.zeros((64, 64), np.uint8)))


def test_an_album_is_made_of_the_cut_outs_and_told_which_words_are_styles(tmp_path: Path) -> None:
    (tmp_path / "world").mkdir()
    write_album(small_world(tmp_path / "world"), tmp_path / "subjects.npz")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["subjects.npz", "world"]
    album = Album.load(tmp_path / "subjects.npz")
    assert album.named("apple, oil painting") is album.subjects[1], "by its second name"
    assert album.named("rocket in comic book style") is album.subjects[2]
    assert "comic book" in album.silent
    for subject, cutout in zip(album.subjects, map(a_subject, range(len(SUBJECTS))), strict=True):
        outline = cv2.Canny(cutout[..., 3], 100, 200)
        missing = outline & ~cv2.dilate(drawn(list(subject.strokes)), NEAR)
        assert (missing > 0).sum() < 0.03 * (outline > 0).sum()
        middle = subject.colours[16:20, 11:13, :3].astype(int)
        assert np.abs(middle - cutout[190, 128, :3]).max() < 25
    assert album.recall(Settings(prompt="fox", control="none"), (256, 256)) is not None
