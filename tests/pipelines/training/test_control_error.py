"""The threshold-free distance between a map and a painted picture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pipelines.training.control_error import control_error, line_error
from pipelines.training.data import maps
from pipelines.training.data.maps import add_map, draw_map

SIDE = 64


def disc(x: int, y: int, colour: tuple[int, int, int] = (220, 80, 60)) -> np.ndarray:
    canvas = np.full((SIDE, SIDE, 3), (40, 60, 120), np.uint8)
    return np.asarray(cv2.circle(canvas, (x, y), 14, colour, -1), np.uint8)


def canny(picture: np.ndarray) -> np.ndarray:
    return np.repeat((cv2.Canny(picture, 100, 200) / 255).astype(np.float32)[None], 3, 0)


def test_the_picture_itself_is_perfect_and_another_or_none_is_not() -> None:
    own = control_error("canny", canny(disc(24, 30)), disc(24, 30))
    other = control_error("canny", canny(disc(24, 30)), disc(45, 20))
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    assert own < 0.01
    assert other > 0.3
    assert control_error("canny", canny(disc(24, 30)), noise) == pytest.approx(0.5, abs=0.1)
    assert control_error("canny", canny(disc(24, 30)), np.full_like(noise, 90)) == 0.5


@pytest.mark.parametrize(
    "painted",
    [
        cv2.GaussianBlur(disc(24, 30), (0, 0), 2),
        (disc(24, 30) // 8 + 100).astype(np.uint8),
        disc(24, 30, (10, 200, 10)),
        disc(25, 30),
    ],
    ids=["blurred", "pale", "in other colours", "one pixel off"],
)
def test_what_keeps_the_lines_keeps_the_lines(painted: np.ndarray) -> None:
    assert control_error("canny", canny(disc(24, 30)), painted) < 0.05


def test_it_falls_as_the_lines_come_out_of_noise() -> None:
    noise = np.random.default_rng(0).normal(0, 60, (SIDE, SIDE, 3))
    found = [
        control_error("canny", canny(disc(24, 30)), np.clip(disc(24, 30) + share * noise, 0, 255).astype(np.uint8))
        for share in (2.0, 1.0, 0.5, 0.0)
    ]
    assert found == sorted(found, reverse=True)
    assert found[0] > 0.05


def test_it_is_the_share_of_pairs_counted_one_by_one() -> None:
    lines = np.zeros((12, 12), bool)
    lines[6, 2:5] = True
    picture = np.random.default_rng(3).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    smooth = cv2.GaussianBlur(picture, (0, 0), 0.8).astype(np.float32)
    change = sum(cv2.Sobel(smooth, cv2.CV_32F, *way) ** 2 for way in ((1, 0), (0, 1))).sum(-1)
    most = np.array(
        [[change[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].max() for x in range(12)] for y in range(12)]
    )
    on = [most[y, x] for y in range(12) for x in range(12) if lines[y, x]]
    away = [most[y, x] for y in range(12) for x in range(12) if abs(y - 6) > 3 or x > 7]
    pairs = [(a > b) + 0.5 * (a == b) for a in on for b in away]
    assert line_error(lines, picture) == pytest.approx(1 - np.mean(pairs), abs=1e-6)


def test_black_lines_on_white_are_lines_too() -> None:
    assert control_error("sketch", 1 - canny(disc(24, 30)), disc(24, 30)) < 0.01
    assert control_error("sketch", np.ones((3, SIDE, SIDE), np.float32), disc(24, 30)) == 0.5


def test_other_maps_are_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maps, "_DRAWERS", dict(maps._DRAWERS))
    add_map("brightness", lambda picture, rng: picture.mean(-1).astype(np.uint8))
    given = draw_map("brightness", disc(24, 30), np.random.default_rng(0))
    assert control_error("brightness", given, disc(24, 30)) == 0
    assert control_error("brightness", given, 255 - disc(24, 30)) > 0.2
