"""The threshold-free distance between maps and painted pictures."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from pipelines.training.control_error import control_error, line_error, line_strength
from pipelines.training.data import maps
from pipelines.training.data.maps import add_map, draw_map

SIDE = 64
PLACES = ((20, 24), (42, 22), (24, 44), (44, 42), (32, 32))


def disc(x: int, y: int, colour: tuple[int, int, int] = (220, 80, 60)) -> np.ndarray:
    canvas = np.full((SIDE, SIDE, 3), (40, 60, 120), np.uint8)
    return np.asarray(cv2.circle(canvas, (x, y), 10, colour, -1), np.uint8)


def canny(picture: np.ndarray) -> np.ndarray:
    return np.repeat((cv2.Canny(picture, 100, 200) / 255).astype(np.float32)[None], 3, 0)


def lines_of(picture: np.ndarray) -> np.ndarray:
    return np.asarray(canny(picture)[0] > 0)


def noise(share: float) -> np.ndarray:
    return share * np.random.default_rng(0).normal(0, 60, (SIDE, SIDE, 3))


MAPS = [canny(disc(*place)) for place in PLACES]


def test_the_pictures_themselves_are_perfect_and_others_or_nothing_are_not() -> None:
    pictures = [disc(*place) for place in PLACES]
    assert control_error("canny", MAPS, pictures) < 0.03
    assert control_error("canny", MAPS, pictures[1:] + pictures[:1]) > 1
    assert control_error("canny", MAPS, [np.full((SIDE, SIDE, 3), 90, np.uint8)] * 5) == 1
    assert control_error("canny", MAPS, [(noise(1) + 128).clip(0, 255).astype(np.uint8)] * 5) == pytest.approx(
        1, abs=0.2
    )


@pytest.mark.parametrize(
    "changed",
    [
        lambda picture: cv2.GaussianBlur(picture, (0, 0), 2),
        lambda picture: (picture // 8 + 100).astype(np.uint8),
        lambda picture: picture[..., ::-1],
        lambda picture: np.roll(picture, 1, 0),
        lambda picture: cv2.rectangle(picture.copy(), (1, 1), (SIDE - 2, SIDE - 2), (255, 255, 255), 1),
    ],
    ids=["blurred", "pale", "in other colours", "one pixel off", "all in the same frame"],
)
def test_what_keeps_the_lines_keeps_the_lines(changed: Callable[[np.ndarray], np.ndarray]) -> None:
    assert control_error("canny", MAPS, [np.ascontiguousarray(changed(disc(*place))) for place in PLACES]) < 0.3


def test_it_falls_as_the_lines_come_out_of_noise() -> None:
    found = [
        control_error(
            "canny", MAPS, [np.clip(disc(*place) + noise(share), 0, 255).astype(np.uint8) for place in PLACES]
        )
        for share in (4.0, 2.0, 1.0, 0.0)
    ]
    assert found == sorted(found, reverse=True)
    assert found[0] > 0.3


def test_it_is_the_share_of_pairs_counted_one_by_one() -> None:
    lines = np.zeros((12, 12), bool)
    lines[6, 2:5] = True
    picture = np.random.default_rng(3).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    smooth = cv2.GaussianBlur(picture, (0, 0), 0.8).astype(np.float32)
    change = sum(cv2.Sobel(smooth, cv2.CV_32F, *way) ** 2 for way in ((1, 0), (0, 1))).sum(-1)
    places = [(y, x) for y in range(12) for x in range(12)]
    most = {(y, x): change[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].max() for y, x in places}
    on = [most[place] for place in places if lines[place]]
    away = [most[y, x] for y, x in places if abs(y - 6) > 3 or x > 7]
    pairs = [(a > b) + 0.5 * (a == b) for a in on for b in away]
    assert line_error(lines, line_strength(picture)) == pytest.approx(1 - np.mean(pairs), abs=1e-6)


def test_a_map_without_lines_says_nothing() -> None:
    assert line_error(np.zeros((SIDE, SIDE), bool), line_strength(disc(20, 24))) == 0.5
    assert line_error(lines_of(disc(20, 24)), line_strength(disc(20, 24))) < 0.01


def test_black_lines_on_white_are_lines_too() -> None:
    assert control_error("sketch", [1 - each for each in MAPS], [disc(*place) for place in PLACES]) < 0.03


def test_other_maps_are_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maps, "_DRAWERS", dict(maps._DRAWERS))
    add_map("brightness", lambda picture, rng: picture.mean(-1).astype(np.uint8))
    pictures = [disc(*place) for place in PLACES]
    given = [draw_map("brightness", picture, np.random.default_rng(0)) for picture in pictures]
    assert control_error("brightness", given, pictures) == 0
    assert control_error("brightness", given, [255 - picture for picture in pictures]) > 0.9
