"""Which lines stay: fewer of a crowded drawing, no specks, none twice."""

import cv2
import numpy as np

from pipelines.training.drawn.steadying import clean_edges, joined
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


def test_of_a_line_beside_another_nothing_is_joined() -> None:
    edges, beside, apart = np.zeros((3, 64, 64), np.uint8)
    edges[20, 4:60] = 255
    beside[21, 4:60] = 255
    apart[40, 4:60] = 255
    np.testing.assert_array_equal(joined(edges, beside), edges)
    np.testing.assert_array_equal(joined(edges, beside | apart), edges | apart)


def test_clean_edges_are_at_the_thresholds_of_the_map() -> None:
    canvas = a_canvas(5)
    specks = np.where(np.random.default_rng(1).random(canvas.shape[:2]) > 0.995, 255, 0).astype(np.uint8)
    for low in (60, 160):
        own = cv2.Canny(canvas, low, 2 * low)
        np.testing.assert_array_equal(clean_edges(canvas, own | specks), own)


def test_specks_are_told_by_their_size() -> None:
    edges = np.zeros((32, 32), np.uint8)
    edges[4, 4:9] = 255
    edges[20, 4:10] = 255
    assert np.flatnonzero(without_specks(edges, 6).any(1)).tolist() == [20]
