"""Frame: what it keeps on the way to and from an encoder."""

from __future__ import annotations

import dataclasses
import time
from fractions import Fraction

import av
import numpy as np
import pytest

from streaming.frame import VIDEO_TIME_BASE, Frame


def image(height: int, width: int) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return np.stack([columns * 255 // width, rows * 255 // height, np.full_like(rows, 90)], -1).astype(np.uint8)


def test_there_and_back_keeps_times_and_picture() -> None:
    frame = Frame(image=image(64, 96), seq=5, pts=1234, time_base=Fraction(1, 1000), captured_ns=42)
    picture = frame.to_video_frame()
    assert (picture.pts, picture.time_base, picture.format.name) == (1234, Fraction(1, 1000), "yuv420p")
    back = Frame.from_video_frame(picture, seq=5, captured_ns=42)
    assert (back.seq, back.pts, back.time_base, back.captured_ns) == (5, 1234, Fraction(1, 1000), 42)
    assert np.abs(back.image.astype(int) - frame.image).max() <= 8, "only what 4:2:0 loses"


@pytest.mark.parametrize(("size", "kept"), [((65, 97), (64, 96)), ((64, 97), (64, 96)), ((2, 2), (2, 2))])
def test_odd_sizes_lose_the_last_row_or_column(size: tuple[int, int], kept: tuple[int, int]) -> None:
    picture = Frame(image=image(*size), seq=0, pts=0).to_video_frame()
    assert (picture.height, picture.width) == kept


@pytest.mark.parametrize("format", ["yuv420p", "nv12", "yuv444p", "gray", "bgr24", "rgba"])
def test_any_pixel_format_becomes_rgb(format: str) -> None:
    picture = av.VideoFrame.from_ndarray(np.full((32, 48, 3), 200, np.uint8), format="rgb24").reformat(format=format)
    frame = Frame.from_video_frame(picture, seq=0)
    assert frame.image.shape == (32, 48, 3)
    assert frame.image.dtype == np.uint8
    assert frame.image.flags.c_contiguous
    assert abs(int(frame.image.mean()) - 200) <= 3


def test_without_times_of_its_own_a_picture_gets_the_clock_now() -> None:
    before = time.monotonic_ns()
    frame = Frame.from_video_frame(av.VideoFrame(16, 16, "rgb24"), seq=0)
    assert before <= frame.captured_ns <= time.monotonic_ns()
    assert (frame.pts, frame.time_base) == (0, VIDEO_TIME_BASE)


def test_painted_it_keeps_its_identity() -> None:
    frame = Frame(image=image(8, 8), seq=3, pts=9, captured_ns=1)
    painted = frame.replace_image(np.zeros((16, 16, 3), np.uint8))
    assert (painted.seq, painted.pts, painted.time_base, painted.captured_ns) == (3, 9, VIDEO_TIME_BASE, 1)
    assert painted.image.shape == (16, 16, 3)


def test_it_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Frame(image=image(8, 8), seq=0, pts=0).seq = 1  # type: ignore[misc]


def planes(height: int, width: int) -> np.ndarray:
    return av.VideoFrame.from_ndarray(image(height, width), format="rgb24").reformat(format="yuv420p").to_ndarray()


def test_planes_go_to_an_encoder_as_they_are() -> None:
    frame = Frame(image=image(64, 96), seq=5, pts=1234, time_base=Fraction(1, 1000), captured_ns=42)
    painted = frame.replace_image(planes(64, 96))
    assert (painted.seq, painted.pts, painted.time_base, painted.captured_ns) == (5, 1234, Fraction(1, 1000), 42)
    picture = painted.to_video_frame(painted.format)
    assert (picture.pts, picture.time_base, picture.format.name) == (1234, Fraction(1, 1000), "yuv420p")
    assert np.array_equal(picture.to_ndarray(), planes(64, 96))


@pytest.mark.parametrize("picture", [image(64, 96), planes(64, 96)], ids=["rgb", "planes"])
def test_the_same_picture_with_other_times(picture: np.ndarray) -> None:
    painted = Frame(image=image(64, 96), seq=5, pts=0).replace_image(picture)
    other = Frame(image=image(8, 8), seq=9, pts=77, time_base=Fraction(1, 1000), captured_ns=42)
    again = painted.retimed(other)
    assert (again.seq, again.pts, again.time_base, again.captured_ns) == (9, 77, Fraction(1, 1000), 42)
    assert again.format == painted.format
    assert np.array_equal(again.to_video_frame().to_ndarray(), painted.to_video_frame().to_ndarray())


def test_who_asks_planes_for_a_picture_gets_rgb() -> None:
    painted = Frame(image=image(64, 96), seq=5, pts=0).replace_image(planes(64, 96))
    assert painted.image.shape == (64, 96, 3)
    assert np.abs(painted.image.astype(int) - image(64, 96)).max() <= 8
    assert painted.image is painted.image, "converted once"
    again = painted.replace_image(image(32, 32))
    assert (again.format, again.seq) == ("rgb24", 5)


def test_planes_can_still_become_another_format() -> None:
    picture = Frame(image=image(64, 96), seq=0, pts=7).replace_image(planes(64, 96)).to_video_frame("rgb24")
    assert (picture.format.name, picture.pts) == ("rgb24", 7)
    assert np.abs(picture.to_ndarray().astype(int) - image(64, 96)).max() <= 8
