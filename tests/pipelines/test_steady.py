"""Steadiness: clips flicker less, and nothing lags or stays behind.

The painter here draws the Canny lines of a frame with a soft pencil; they flicker as a model's do.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage import data

from pipelines.frame_graph import to_bytes
from pipelines.settings import Settings
from pipelines.steady import LEAST_SHARE, Steadier
from pipelines.training.evaluation.temporal import pan, still, warp_error

Picture = NDArray[np.uint8]
SIDE = 160
#: What ``pan`` takes frames of that side from.
PANNED = 183
STEADY, OFF = Settings(), Settings(steadiness=0.0)


def photograph(name: str = "astronaut", side: int = PANNED) -> Picture:
    return np.asarray(cv2.resize(getattr(data, name)(), (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def draw(frame: Picture) -> Picture:
    lines = cv2.GaussianBlur(cv2.dilate(cv2.Canny(frame, 80, 160), np.ones((3, 3), np.uint8)), (0, 0), 1)
    return np.repeat(255 - lines[..., None] // 2, 3, 2)


def shown(frames: Sequence[Picture], settings: Settings = STEADY) -> list[Picture]:
    steadier = Steadier()
    return [steadier.picture(frame, draw(frame), settings) for frame in frames]


def difference(frames: Sequence[Picture]) -> float:
    return float(np.mean([np.abs(a.astype(float) - b).mean() for a, b in itertools.pairwise(frames)]))


def sharpness(picture: Picture) -> float:
    return float(np.abs(cv2.Laplacian(picture, cv2.CV_32F)).mean())


def test_a_still_camera_with_noise_gives_a_still_picture() -> None:
    frames = still(photograph(side=SIDE))
    painted, steady = [draw(frame) for frame in frames], shown(frames)
    assert difference(painted) > difference(frames), "or there is nothing to make steady"
    assert difference(steady) <= 0.25 * difference(frames)
    assert warp_error(frames, steady).ratio <= 0.25


@pytest.mark.parametrize("pixels", [0.5, 1.5, 2.5])
def test_a_slow_pan_is_steady_and_stays_sharp(pixels: float) -> None:
    frames = pan(photograph(), pixels=pixels)
    painted, steady = [draw(frame) for frame in frames], shown(frames)
    before, after = warp_error(frames, painted).ratio, warp_error(frames, steady).ratio
    assert before > 4, "or there is nothing to make steady"
    assert after <= 1.1
    assert sharpness(steady[-1]) > 0.75 * sharpness(painted[-1])


def walker(at: float, *, noise: np.random.Generator) -> Picture:
    """A disc of a photograph, ``at`` pixels on its way across another, under a sensor's noise."""
    scene = photograph("coffee", SIDE).astype(np.float32)
    thing = np.roll(photograph("chelsea", SIDE), round(at), 1).astype(np.float32)
    y, x = np.mgrid[:SIDE, :SIDE]
    inside = np.clip(30.5 - np.hypot(x - 40 - at, y - 80), 0, 1)[..., None]
    frame = scene + inside * (thing - scene) + noise.normal(0, 2, scene.shape)
    return np.asarray(np.rint(frame).clip(0, 255), np.uint8)


@pytest.mark.parametrize("speed", [2, 9])
def test_nothing_stays_behind_what_moves(speed: int) -> None:
    """Where the thing was in one of the last three frames, what is shown is as near to what was painted as anywhere."""
    noise = np.random.default_rng(0)
    frames = [walker(speed * t, noise=noise) for t in range(9)]
    steady, painted = shown(frames)[-1], draw(frames[-1])
    y, x = np.mgrid[:SIDE, :SIDE]
    was = [np.hypot(x - 40 - speed * t, y - 80) < 33 for t in range(9)]
    uncovered = np.logical_or.reduce(was[5:8]) & ~was[8]
    elsewhere = ~cv2.dilate(np.logical_or.reduce(was).astype(np.uint8), np.ones((31, 31))).astype(bool)
    off = np.abs(steady.astype(float) - painted).mean(-1)
    assert uncovered.sum() > 100
    assert off[uncovered].mean() <= off[elsewhere].mean() + 3


def test_what_appears_in_its_place_shows_at_once() -> None:
    """A lamp is switched on, an eye blinks: nothing moved there, and the rest of the picture stays steady."""
    before, other = photograph(side=SIDE), photograph("coffee", SIDE)
    after = before.copy()
    after[40:90, 50:110] = other[40:90, 50:110]
    steadier = Steadier()
    steadier.picture(before, np.zeros_like(before), STEADY)
    picture = steadier.picture(after, np.full_like(after, 200), STEADY)
    assert (np.abs(picture[45:85, 55:105].astype(int) - 200) < 20).mean() > 0.9
    assert (picture[110:] == 20).all()


def test_a_cut_shows_at_once() -> None:
    steadier = Steadier()
    for frame in still(photograph(side=SIDE), frames=3):
        steadier.picture(frame, draw(frame), STEADY)
    other = photograph("coffee", SIDE)
    assert (steadier.picture(other, draw(other), STEADY) == draw(other)).all()


def test_a_change_shows_at_once_and_a_change_of_nothing_does_not() -> None:
    steadier, frame = Steadier(), photograph(side=SIDE)
    black, white = (np.full_like(frame, grey) for grey in (0, 255))
    assert (steadier.picture(frame, black, STEADY, change_id=1) == 0).all()
    assert (steadier.picture(frame, white, STEADY, change_id=1) == round(0.1 * 255)).all()
    assert (steadier.picture(frame, white, STEADY, change_id=2) == 255).all()
    assert (steadier.picture(frame, black, STEADY, change_id=2) == round(0.9 * 255)).all()


@pytest.mark.parametrize("steadiness", [0.3, 0.9, 1.0])
def test_on_a_still_camera_the_share_of_a_new_picture_is_what_steadiness_leaves(steadiness: float) -> None:
    steadier, frame, settings = Steadier(), photograph(side=SIDE), Settings(steadiness=steadiness)
    steadier.picture(frame, np.zeros_like(frame), settings)
    expected = 0.0
    for _ in range(20):
        picture = steadier.picture(frame, np.full_like(frame, 200), settings)
        expected += max(LEAST_SHARE, 1 - steadiness) * (200 - expected)
        assert np.abs(picture - expected).max() <= 0.5


@pytest.mark.parametrize("settings", [OFF, Settings(control="none")])
def test_off_and_for_text_alone_it_is_what_was_painted_and_nothing_is_kept(settings: Settings) -> None:
    frames = still(photograph(side=SIDE), frames=3)
    steadier = Steadier()
    for frame in frames:
        painted = draw(frame)
        assert steadier.picture(frame, painted, settings) is painted
    painted = draw(frames[0])
    assert (steadier.picture(frames[0], painted, STEADY) == painted).all(), "and switched on, it begins anew"


def test_the_cameras_colours_are_followed_without_a_map_too() -> None:
    frame, settings = photograph(side=SIDE), Settings(control="none", init_strength=0.5)
    steadier = Steadier()
    steadier.picture(frame, np.zeros_like(frame), settings)
    assert (steadier.picture(frame, np.full_like(frame, 100), settings) == 10).all()


@pytest.mark.parametrize("form", ["rgb", "yuv"])
def test_another_size_begins_anew(form: str) -> None:
    steadier = Steadier()
    for side in (96, 128, 96):
        frame = photograph(side=side)
        painted = draw(frame) if form == "rgb" else planes_of(draw(frame))
        assert (steadier.picture(frame, painted, STEADY) == painted).all()


def test_streams_keep_nothing_of_each_other() -> None:
    one, other = pan(photograph()), still(photograph("coffee", SIDE))
    alone = shown(one)
    here, there = Steadier(), Steadier()
    for frame, beside, expected in zip(one, other, alone, strict=True):
        there.picture(beside, draw(beside), STEADY)
        assert (here.picture(frame, draw(frame), STEADY) == expected).all()


def planes_of(picture: Picture) -> Picture:
    """As the frame path gives them to encoders."""
    rgb = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    return np.asarray(to_bytes(rgb, "yuv", picture.shape[:2])[0].numpy(), np.uint8)


def test_the_planes_of_i420_are_carried_as_the_picture_is() -> None:
    """Coloured lines, panned: the planes of the steady picture are those that were made steady."""
    frames = pan(photograph(), pixels=1.5)
    as_rgb, as_planes = Steadier(), Steadier()
    for frame in frames:
        painted = cv2.blur(cv2.addWeighted(draw(frame), 0.5, frame, 0.5, 0), (3, 3))
        picture = as_rgb.picture(frame, painted, STEADY)
        planes = as_planes.picture(frame, planes_of(painted), STEADY)
        assert planes.shape == (frame.shape[0] * 3 // 2, frame.shape[1])
        assert np.abs(planes.astype(float) - planes_of(picture)).mean() < 1


@pytest.mark.parametrize("size", [(8, 16), (31, 40), (256, 144), (360, 640)])
def test_any_size_and_shape_goes(size: tuple[int, int]) -> None:
    wide = cv2.resize(photograph(), (size[1] + 4, size[0]))
    frames = [np.ascontiguousarray(wide[:, start : start + size[1]]) for start in (0, 2, 4)]
    assert [each.shape for each in shown(frames)] == [(*size, 3)] * 3
