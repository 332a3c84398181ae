"""The targets: deterministic, drawn along the edges, coloured by the noise."""

import cv2
import numpy as np
import pytest

from pipelines.training.drawn.scene import Scene
from pipelines.training.drawn.styles import STYLES, draw
from pipelines.training.evaluation.edges import edge_f1, edges_of


def a_drawing() -> np.ndarray:
    picture = np.full((128, 128, 3), 30, np.uint8)
    cv2.circle(picture, (50, 60), 30, (220, 180, 60), -1)
    cv2.rectangle(picture, (80, 20), (120, 110), (40, 200, 220), -1)
    return cv2.Canny(picture, 100, 200)


def some_noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((4, 16, 16), dtype=np.float32)


@pytest.mark.parametrize("style", STYLES)
def test_a_style_is_deterministic_and_in_range(style: str) -> None:
    edges, noise = a_drawing(), some_noise(1)
    first, second = draw(Scene(edges, noise), style), draw(Scene(edges.copy(), noise.copy()), style)
    np.testing.assert_array_equal(first, second)
    assert first.shape == (128, 128, 3)
    assert first.dtype == np.float32
    assert 0 <= first.min() < first.max() <= 1


@pytest.mark.parametrize("style", STYLES)
def test_a_style_follows_its_own_edges_and_not_others(style: str) -> None:
    edges = a_drawing()
    painted = np.rint(draw(Scene(edges, some_noise(2)), style) * 255).astype(np.uint8)
    elsewhere = np.ascontiguousarray(np.roll(edges, (23, 31), (0, 1)))
    found = edges_of(painted)
    assert edge_f1(edges, found) > edge_f1(elsewhere, found) + 0.2


@pytest.mark.parametrize("style", ["neon", "stained glass", "paper cut", "aurora", "pop art"])
def test_the_noise_moves_the_colours(style: str) -> None:
    edges = a_drawing()
    one, other = (draw(Scene(edges, some_noise(seed)), style) for seed in (3, 4))
    assert np.abs(one - other).max() > 0.05


@pytest.mark.parametrize("style", ["neon", "stained glass", "clay", "ink", "porcelain"])
def test_a_tint_moves_the_colour_towards_its_hue(style: str) -> None:
    edges, noise = a_drawing(), some_noise(3)
    red, blue = draw(Scene(edges, noise, 0.0), style), draw(Scene(edges, noise, 7 / 12), style)
    assert (red[..., 0] - red[..., 2]).mean() > (blue[..., 0] - blue[..., 2]).mean() + 0.01


def test_strength_zero_shows_no_edge_and_half_lies_between() -> None:
    edges, noise = a_drawing(), some_noise(4)
    none, half, full = (draw(Scene(edges, noise), "ink", strength) for strength in (0.0, 0.5, 1.0))
    assert none.std(axis=(0, 1)).max() < 1e-3
    np.testing.assert_allclose(half, (none + full) / 2, atol=1e-6)


def test_a_scene_without_edges_is_far_from_any() -> None:
    assert Scene(np.zeros((64, 64), np.uint8), some_noise(0)).distance.min() == 64


def test_edge_f1_counts_one_pixel_of_tolerance() -> None:
    line, near, far = (np.zeros((32, 32), np.uint8) for _ in range(3))
    line[:, 10], near[:, 11], far[:, 13] = 255, 255, 255
    assert edge_f1(line, near) == pytest.approx(1.0)
    assert edge_f1(line, far) == 0.0
    assert edge_f1(line, np.zeros_like(line)) == 0.0


def test_lines_are_coloured_by_the_way_they_run() -> None:
    level, upright = np.zeros((64, 64), np.uint8), np.zeros((64, 64), np.uint8)
    level[32], upright[:, 32] = 255, 255
    for edges, sign in ((level, 1), (upright, -1)):
        run, rising = Scene(edges, some_noise(0)).direction
        assert sign * run[32, 32] > 0.9
        assert abs(rising[32, 32]) < 0.1
