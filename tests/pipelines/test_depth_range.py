from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.depth_range import DepthRange, SceneWatch


def scene(seed: int, *, size: tuple[int, int] = (96, 128)) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    return cv2.resize(rng.integers(0, 256, (5, 6, 3), np.uint8), size[::-1], interpolation=cv2.INTER_CUBIC)


def test_the_first_range_is_taken_as_it_is() -> None:
    assert DepthRange().follow(2.0, 8.0, smoothing=0.9) == (2.0, 8.0)


def test_the_range_moves_by_one_minus_smoothing_of_the_way() -> None:
    shown = DepthRange()
    shown.follow(0.0, 10.0, smoothing=0.9)
    assert shown.follow(1.0, 12.0, smoothing=0.9) == pytest.approx((0.1, 10.2))
    assert shown.follow(1.0, 12.0, smoothing=0.9) == pytest.approx((0.19, 10.38))


def test_without_smoothing_each_map_has_its_own_range() -> None:
    shown = DepthRange()
    shown.follow(0.0, 10.0, smoothing=0.0)
    assert shown.follow(1.0, 12.0, smoothing=0.0) == (1.0, 12.0)


def test_a_range_that_flickers_is_calmed() -> None:
    shown, rng = DepthRange(), np.random.default_rng(0)
    highs = 10 + rng.uniform(-1, 1, 200)
    calmed = [shown.follow(0.0, high, smoothing=0.9)[1] for high in highs]
    assert np.std(np.diff(calmed)) < 0.15 * np.std(np.diff(highs))
    assert np.mean(calmed[50:]) == pytest.approx(10, abs=0.2)


def test_a_cut_takes_the_new_range_at_once() -> None:
    shown = DepthRange()
    shown.follow(0.0, 10.0, smoothing=0.99)
    assert shown.follow(1.0, 12.0, smoothing=0.99, cut=True) == (1.0, 12.0)


@pytest.mark.parametrize(("low", "high"), [(0.0, 21.0), (0.0, 4.0), (50.0, 60.0), (3.0, 3.0)])
def test_a_range_that_hardly_overlaps_is_taken_at_once(low: float, high: float) -> None:
    shown = DepthRange()
    shown.follow(0.0, 10.0, smoothing=0.99)
    assert shown.follow(low, high, smoothing=0.99) == (low, high)


def test_flat_depth_stays_flat() -> None:
    shown = DepthRange()
    assert [shown.follow(5.0, 5.0, smoothing=0.9) for _ in range(2)] == [(5.0, 5.0)] * 2


def test_another_scene_is_a_cut_and_the_same_one_is_none() -> None:
    watch = SceneWatch()
    seen = [watch.is_cut(picture) for picture in (scene(1), scene(1), scene(2), scene(2), scene(1))]
    assert seen == [False, False, True, False, True]


def test_light_noise_and_a_small_move_are_no_cut() -> None:
    watch, rng = SceneWatch(), np.random.default_rng(0)
    still = scene(3)
    watch.is_cut(still)
    darker = (still * 0.3).astype(np.uint8)
    noisy = np.clip(still + rng.normal(0, 20, still.shape), 0, 255).astype(np.uint8)
    moved = np.roll(still, 4, axis=1)
    assert not any(watch.is_cut(picture) for picture in (darker, still, noisy, moved))


def test_black_to_picture_is_a_cut_but_black_to_grey_is_none() -> None:
    watch = SceneWatch()
    black, grey = np.zeros((64, 64, 3), np.uint8), np.full((64, 64, 3), 90, np.uint8)
    assert [watch.is_cut(picture) for picture in (black, grey, scene(1), black)] == [False, False, True, True]
