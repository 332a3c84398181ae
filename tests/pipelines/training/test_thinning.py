"""Which lines stay: fewer as the strength falls, never noise, always where the map has them."""

import cv2
import numpy as np

from pipelines.training.drawn.steadying import clean_edges, joined, settled
from pipelines.training.drawn.thinning import POWER, thinned, without_specks
from tests.pipelines.training.small_world import a_canvas


def edges_of_a_canvas() -> np.ndarray:
    return clean_edges(a_canvas(3))


def test_thinned_edges_are_nested_and_grow_with_the_strength() -> None:
    edges = edges_of_a_canvas()
    before = np.zeros_like(edges)
    for strength in (0.0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 1.0):
        left = thinned(edges, strength)
        assert not (before & ~left).any()
        assert abs(np.count_nonzero(left) - strength**POWER * np.count_nonzero(edges)) <= 1
        before = left
    np.testing.assert_array_equal(before, edges)


def test_the_longest_lines_stay_and_one_is_cut_at_a_place() -> None:
    edges = np.zeros((64, 64), np.uint8)
    edges[10, 5:60] = 255
    edges[30, 5:25] = 255
    edges[50, 5:12] = 255
    left = thinned(edges, 0.8)
    assert left[10].sum() == edges[10].sum()
    assert not left[50].any()
    kept = np.flatnonzero(left[30])
    assert 0 < len(kept) < 20
    assert (np.diff(kept) == 1).all()


def test_an_empty_map_stays_empty() -> None:
    nothing = np.zeros((32, 32), np.uint8)
    assert not thinned(nothing, 0.5).any()
    assert not thinned(nothing, 1.0).any()


def test_specks_and_lines_of_the_noise_are_not_painted() -> None:
    clean = edges_of_a_canvas()
    noisy = clean.copy()
    noisy[3:5, 3:5] = 255  # a speck
    noisy[5, 100:130] = 255  # a long line that the picture doesn't have
    assert not clean[2:7, 1:132].any()
    painted = settled(noisy, clean)
    assert not painted[2:7, 1:132].any()
    assert np.count_nonzero(painted & clean) > 0.95 * np.count_nonzero(clean)


def test_short_breaks_are_painted_through_and_long_ones_are_not() -> None:
    clean = np.zeros((64, 64), np.uint8)
    clean[20, 4:60] = 255
    clean[40, 4:60] = 255
    broken = clean.copy()
    broken[20, 30:34] = 0
    broken[40, 20:44] = 0
    painted = settled(broken, clean)
    np.testing.assert_array_equal(painted[20], clean[20])
    assert not painted[40, 24:40].any()


def test_a_painted_line_lies_where_the_map_has_it() -> None:
    clean, moved = np.zeros((2, 64, 64), np.uint8)
    clean[20, 4:60] = 255
    moved[21, 4:60] = 255
    np.testing.assert_array_equal(settled(moved, clean), moved)
    np.testing.assert_array_equal(joined(moved, clean), moved)


def test_the_picture_s_own_lines_survive_a_noisy_camera() -> None:
    canvas = a_canvas(5)
    noise = np.random.default_rng(1).normal(0, 14, canvas.shape)
    noisy = np.asarray(cv2.Canny(np.clip(canvas + noise, 0, 255).astype(np.uint8), 90, 180), np.uint8)
    clean = clean_edges(canvas, noisy)
    near = cv2.dilate(clean, np.ones((3, 3), np.uint8))
    painted = settled(noisy, clean)
    assert np.count_nonzero(noisy & ~near) > 50, "a camera that makes no noise shows nothing here"
    assert not (painted & ~cv2.dilate(near, np.ones((3, 3), np.uint8))).any()
    assert np.count_nonzero(cv2.dilate(painted, np.ones((3, 3), np.uint8)) & clean) > 0.9 * np.count_nonzero(clean)


def test_specks_are_told_by_their_size() -> None:
    edges = np.zeros((32, 32), np.uint8)
    edges[4, 4:9] = 255
    edges[20, 4:10] = 255
    assert np.flatnonzero(without_specks(edges, 6).any(1)).tolist() == [20]
