"""The targets: deterministic, crisp where the edges are, coloured by the colours they are given."""

from __future__ import annotations

from functools import cache
from itertools import combinations, pairwise

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.training.drawn.colouring import from_field, lightness, paint, region_colours, tinted
from pipelines.training.drawn.scene import Image, Scene
from pipelines.training.drawn.styles import DEFAULT, STYLES, draw, draw_between
from pipelines.training.evaluation.edges import edge_f1, edge_skill, edges_of, held_out_photographs

PAINT = list(STYLES)[6:]
SKILL = {"toy": 0.7, "oil": 0.7, "pixel art": 0.7, "watercolour": 0.7, "comic": 0.7, "stained glass": 0.7}


def a_drawing() -> NDArray[np.uint8]:
    picture = np.full((128, 128, 3), 30, np.uint8)
    cv2.circle(picture, (50, 60), 30, (220, 180, 60), -1)
    cv2.rectangle(picture, (80, 20), (120, 110), (40, 200, 220), -1)
    return cv2.Canny(picture, 100, 200)


def some_colours(seed: int, size: tuple[int, int] = (128, 128)) -> Image:
    return from_field(np.random.default_rng(seed).random((8, 8, 3), dtype=np.float32), size)


def painted(scene: Scene, style: str) -> NDArray[np.uint8]:
    return np.rint(draw(scene, style) * 255).astype(np.uint8)


@cache
def photographed() -> dict[str, tuple[NDArray[np.uint8], Image]]:
    """Two photographs' edges and colours."""
    given = {}
    for name, picture in held_out_photographs(("astronaut", "coffee")).items():
        edges = edges_of(picture)
        given[name] = edges, region_colours(picture, edges)
    return given


def test_the_twelve_styles_are_these_in_this_order() -> None:
    assert list(STYLES) == [
        "ink", "pencil", "chalk", "blueprint", "neon", "gold",
        "stained glass", "comic", "watercolour", "oil", "toy", "pixel art",
    ]  # fmt: skip
    assert DEFAULT in STYLES


@pytest.mark.parametrize("style", STYLES)
def test_a_style_is_deterministic_and_in_range(style: str) -> None:
    edges, colours = a_drawing(), some_colours(1)
    first, second = draw(Scene(edges, colours), style), draw(Scene(edges.copy(), colours.copy()), style)
    np.testing.assert_array_equal(first, second)
    assert first.shape == (128, 128, 3)
    assert first.dtype == np.float32
    assert 0 <= first.min() < first.max() <= 1


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("size", [(256, 144), (144, 256), (128, 128)])
@pytest.mark.parametrize("value", [0, 255])
def test_any_size_is_drawn_without_edges_and_with_nothing_else(style: str, size: tuple[int, int], value: int) -> None:
    picture = draw(Scene(np.full(size, value, np.uint8), some_colours(2, size), 0.5), style)
    assert picture.shape == (*size, 3)
    assert np.isfinite(picture).all()


def test_no_two_styles_look_alike() -> None:
    pictures = {style: draw(Scene(a_drawing(), some_colours(3)), style) for style in STYLES}
    for one, other in combinations(STYLES, 2):
        assert np.abs(pictures[one] - pictures[other]).mean() > 0.02, (one, other)


@pytest.mark.parametrize("style", STYLES)
def test_a_style_keeps_the_edges_of_photographs(style: str) -> None:
    edges = {name: edge for name, (edge, _) in photographed().items()}
    pictures = {name: painted(Scene(edge, colours), style) for name, (edge, colours) in photographed().items()}
    assert edge_skill(edges, pictures) > SKILL.get(style, 0.85)


@pytest.mark.parametrize("style", STYLES)
def test_a_style_draws_no_edge_where_none_is(style: str) -> None:
    """Textures are too faint for an edge detector, also in places of one colour."""
    even = np.full((128, 128, 3), (0.5, 0.35, 0.3), np.float32)
    found = edges_of(painted(Scene(np.zeros((128, 128), np.uint8), even), style))
    assert np.count_nonzero(found) == 0


@pytest.mark.parametrize("style", STYLES)
def test_only_painted_styles_use_the_colours(style: str) -> None:
    edges = a_drawing()
    one, other = (draw(Scene(edges, some_colours(seed)), style) for seed in (3, 4))
    assert (np.abs(one - other).mean() > 0.05) == (style in PAINT)


@pytest.mark.parametrize("style", STYLES)
def test_a_tint_moves_the_colour_towards_its_hue(style: str) -> None:
    edges, colours = a_drawing(), some_colours(3)
    red, blue = draw(Scene(edges, colours, 0.0), style), draw(Scene(edges, colours, 7 / 12), style)
    assert (red[..., 0] - red[..., 2]).mean() > (blue[..., 0] - blue[..., 2]).mean() + 0.01


@pytest.mark.parametrize("style", STYLES)
def test_a_style_repeats_with_the_latents(style: str) -> None:
    """Moved by one latent, the same things are drawn there: the network need not know where in the picture it is."""
    edges, colours = np.zeros((128, 128), np.uint8), np.full((128, 128, 3), 0.4, np.float32)
    cv2.circle(edges, (60, 60), 24, 255, 1)
    here = draw(Scene(edges, colours), style)
    there = draw(Scene(np.ascontiguousarray(np.roll(edges, (8, 8), (0, 1))), colours), style)
    np.testing.assert_allclose(here[24:96, 24:96], there[32:104, 32:104], atol=0.02)


@pytest.mark.parametrize("style", PAINT)
def test_a_grey_night_is_not_painted_grey(style: str) -> None:
    grey = np.repeat(np.linspace(0.05, 0.3, 128, dtype=np.float32)[None, :, None], 128, 0).repeat(3, -1)
    picture = draw(Scene(a_drawing(), grey), style)
    assert (picture.max(-1) - picture.min(-1)).mean() > 0.05
    assert picture.mean() > 1.2 * grey.mean()


def test_regions_are_sharp_at_an_edge_and_flat_elsewhere() -> None:
    rng = np.random.default_rng(0)
    picture = np.full((128, 128, 3), 60, np.int16)
    picture[:, 64:] = (200, 120, 60)
    picture += rng.integers(-20, 21, picture.shape, np.int16)
    edges = np.zeros((128, 128), np.uint8)
    edges[:, 64] = 255
    colours = region_colours(picture.astype(np.uint8), edges)
    np.testing.assert_allclose(colours[:, :58], 60 / 255, atol=0.04)
    np.testing.assert_allclose(colours[:, 71:], np.broadcast_to((200, 120, 60), (128, 57, 3)) / 255, atol=0.04)
    assert colours[:, :58].std(axis=(0, 1)).max() < 0.012
    assert (colours[:, 66] - colours[:, 62])[..., 0].min() > 0.65 * (200 - 60) / 255  # within four pixels


def test_what_neither_edges_nor_small_pictures_tell_is_hardly_shown() -> None:
    picture = np.full((128, 128, 3), 100, np.uint8)
    picture[60:64, 60:64] = 255
    flat = region_colours(picture, np.zeros((128, 128), np.uint8))
    assert np.ptp(flat) < 0.12 * (255 - 100) / 255


def test_a_field_is_enlarged_smoothly() -> None:
    large = some_colours(0, (96, 160))
    assert large.shape == (96, 160, 3)
    assert np.abs(np.diff(large, axis=0)).max() < 0.15
    assert 0 <= large.min() < large.max() <= 1


def test_tinting_keeps_the_lightness() -> None:
    colours = some_colours(5)
    moved = tinted(colours, 7 / 12)
    np.testing.assert_allclose(lightness(moved), lightness(colours), atol=0.01)
    assert (moved[..., 2] >= moved[..., 0] - 1e-6).all()


def test_paint_is_stronger_than_what_was_seen() -> None:
    dull = 0.45 + 0.1 * (some_colours(6) - 0.5)
    strong = paint(Scene(np.zeros((128, 128), np.uint8), dull.astype(np.float32)))
    assert np.ptp(strong, axis=-1).mean() > 2 * np.ptp(dull, axis=-1).mean()


def test_a_scene_without_edges_is_far_from_any() -> None:
    assert Scene(np.zeros((64, 64), np.uint8), some_colours(0, (64, 64))).distance.min() == 64


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
        run, rising = Scene(edges, some_colours(0, (64, 64))).direction
        assert sign * run[32, 32] > 0.9
        assert abs(rising[32, 32]) < 0.1


PALE = ("chalk", "blueprint", "neon", "gold")


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("tint", [None, 0.3])
def test_both_layers_are_whole_pictures(style: str, tint: float | None) -> None:
    layers = STYLES[style](Scene(a_drawing(), some_colours(1), tint))
    assert layers.ground.shape == layers.ink.shape == (128, 128, 3)
    assert layers.cover.shape == (128, 128)


@pytest.mark.parametrize("pale", PALE)
@pytest.mark.parametrize("dark", ["ink", "pencil", "comic", "stained glass"])
def test_between_a_pale_and_a_dark_style_lines_never_fade(pale: str, dark: str) -> None:
    """Light and dark pixels lie side by side along a line all the way: their mean would be grey on grey half-way."""
    edges = a_drawing()
    scene, beside = Scene(edges, some_colours(1)), cv2.dilate(edges, np.ones((7, 7), np.uint8)) > 0

    def spread(picture: Image) -> float:
        low, high = np.percentile(lightness(picture)[beside], (3, 97))
        return float(high - low)

    ends, shares = (draw(scene, pale), draw(scene, dark)), np.linspace(0, 1, 17)
    between = min(spread(draw_between((scene, scene), (pale, dark), float(share))) for share in shares)
    assert between > 0.3 * min(map(spread, ends))
    assert between > min(spread((1 - share) * ends[0] + share * ends[1]) for share in shares)


@pytest.mark.parametrize(("pale", "dark"), [("neon", "comic"), ("gold", "ink"), ("chalk", "watercolour")])
def test_half_way_it_is_the_pale_style_where_it_is_dark_and_the_dark_one_where_it_is_light(
    pale: str, dark: str
) -> None:
    """So each is there whole, not the grey between them; which of the two is asked for first makes no difference."""
    shades = np.broadcast_to(np.linspace(0, 1, 128, dtype=np.float32)[:, None, None], (128, 128, 3))
    scene = Scene(a_drawing(), 0.9 * shades + 0.1 * some_colours(1))
    halfway = draw_between((scene, scene), (pale, dark), 0.5)
    for rows, near, far in ((slice(0, 20), pale, dark), (slice(-20, None), dark, pale)):
        off, beyond = (np.abs(halfway - draw(scene, style))[rows].mean() for style in (near, far))
        assert off < 0.01 < 0.2 < beyond
    np.testing.assert_array_equal(halfway, draw_between((scene, scene), (dark, pale), 0.5))


def test_a_way_between_two_styles_begins_and_ends_in_them_without_a_leap() -> None:
    scene = Scene(a_drawing(), some_colours(1))
    for one, other in (("neon", "comic"), ("ink", "gold"), ("oil", "comic"), ("chalk", "neon")):
        way = [draw_between((scene, scene), (one, other), share) for share in np.linspace(0, 1, 41)]
        np.testing.assert_allclose(way[0], draw(scene, one), atol=1e-5)
        np.testing.assert_allclose(way[-1], draw(scene, other), atol=1e-5)
        steps = [np.abs(after - before).mean() for before, after in pairwise(way)]
        assert max(steps) < 6 * np.mean(steps)
