from __future__ import annotations

import cv2
import numpy as np
import pytest

from pipelines import Settings
from pipelines.canny import CannyConditioner


@pytest.mark.parametrize("size", [(256, 256), (512, 384), (100, 150), (65, 65)])
def test_the_map_is_cv2s_own_edges_white_on_black(size: tuple[int, int]) -> None:
    picture = np.zeros((*size, 3), np.uint8)
    cv2.rectangle(picture, (20, 20), (50, 44), (255, 200, 40), -1)
    drawn = CannyConditioner()(picture, Settings(canny_low=80, canny_high=160))
    assert drawn.map.shape == size
    assert drawn.map.dtype == np.uint8
    assert set(np.unique(drawn.map)) == {0, 255}
    assert np.array_equal(drawn.map, cv2.Canny(picture, 80, 160))


def test_thresholds_are_the_settings() -> None:
    rng = np.random.default_rng(0)
    picture = cv2.GaussianBlur(rng.integers(0, 255, (128, 128, 3), np.uint8), (0, 0), 2)
    few, many = (CannyConditioner()(picture, Settings(canny_low=t, canny_high=2 * t)).map.mean() for t in (200, 40))
    assert few < many
