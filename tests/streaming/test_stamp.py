"""The stamp: drawn, read, copied, and told from what is none."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from streaming import stamp

SIZES = [(96, 96), (100, 97), (128, 128), (256, 256), (480, 640), (512, 512), (1080, 1920), (33, 511)]


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 255, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("counter", "time_ms"), [(0, 1), (1, 0), (65535, 2**24 - 1), (0xA5A5, 0x123456)])
def test_what_is_drawn_is_read(size: tuple[int, int], counter: int, time_ms: int) -> None:
    image = picture(*size)
    before = image.copy()
    stamp.draw(image, counter, time_ms)
    assert stamp.read(image) == stamp.Stamp(counter=counter, time_ms=time_ms)
    row = stamp.row_height(size[1])
    assert row == max(8, size[1] // 32)
    assert np.array_equal(image[row:], before[row:])


def test_the_layout_is_the_one_the_page_reads() -> None:
    # Worked out by hand: 0x0102 and 0x030405, and the CRC-8 (0x07) of 01 02 03 04 05, which is BC.
    image = np.zeros((16, 480, 3), np.uint8)
    stamp.draw(image, 0x0102, 0x030405)
    cells = image[4, 5::10, 0] // 255
    assert "".join(map(str, cells)) == f"{0x0102030405BC:048b}"


def test_numbers_wrap() -> None:
    image = picture(96, 96)
    stamp.draw(image, 65536 + 3, 2**24 + 9)
    read = stamp.read(image)
    assert read == stamp.Stamp(counter=3, time_ms=9)
    assert read.age_ms(2**24 + 29) == 20
    assert stamp.Stamp(counter=0, time_ms=2**24 - 10).age_ms(5) == 15


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_plain_picture_has_no_stamp(value: int) -> None:
    assert stamp.read(np.full((128, 128, 3), value, np.uint8)) is None


def test_a_broken_stamp_is_none() -> None:
    image = picture(256, 256)
    stamp.draw(image, 77, 1234)
    image[:8, 30:36] = 255 - image[:8, 30:36]
    assert stamp.read(image) is None


def test_a_picture_too_small() -> None:
    for size in ((96, 95), (7, 96)):
        assert stamp.read(picture(*size)) is None
        with pytest.raises(ValueError, match="too small"):
            stamp.draw(picture(*size), 1, 1)


@pytest.mark.parametrize("target", [(128, 128), (512, 512), (256, 455), (720, 1280)])
def test_copied_to_another_size_it_still_reads(target: tuple[int, int]) -> None:
    source, painted = picture(256, 256), picture(*target)
    stamp.draw(source, 4711, 99_999)
    stamp.copy(source, painted)
    assert stamp.read(painted) == stamp.Stamp(counter=4711, time_ms=99_999)


@pytest.mark.parametrize("target", [(128, 128), (512, 512), (256, 288), (720, 1280)])
def test_copied_into_planes_it_still_reads(target: tuple[int, int]) -> None:
    source, painted = picture(256, 256), picture(*target)
    stamp.draw(source, 4711, 99_999)
    planes = av.VideoFrame.from_ndarray(painted, format="rgb24").reformat(format="yuv420p").to_ndarray()
    before = planes.copy()
    stamp.copy(source, planes)
    seen = av.VideoFrame.from_ndarray(planes, format="yuv420p").to_ndarray(format="rgb24")
    assert stamp.read(seen) == stamp.Stamp(counter=4711, time_ms=99_999)
    height, row = target[0], stamp.row_height(target[1])
    assert np.array_equal(planes[row:height], before[row:height]), "the rest is as it was"
    halves = [each[height:].reshape(2, height // 2, -1)[:, (row + 1) // 2 :] for each in (planes, before)]
    assert np.array_equal(*halves)


@pytest.mark.parametrize("codec", ["libx264", "libvpx"])
def test_it_survives_hard_compression(codec: str) -> None:
    encoder = av.CodecContext.create(codec, "w")
    encoder.width = encoder.height = 256
    encoder.pix_fmt, encoder.time_base, encoder.framerate = "yuv420p", Fraction(1, 30), 30
    encoder.bit_rate = 150_000
    encoder.options = {"tune": "zerolatency"} if codec == "libx264" else {"deadline": "realtime", "lag-in-frames": "0"}
    decoder = av.CodecContext.create("h264" if codec == "libx264" else "libvpx", "r")
    read = []
    for n in range(20):
        image = picture(256, 256) // 4 + np.uint8(90)
        stamp.draw(image, n, 1 + n * 33)
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        frame.pts = n
        for packet in encoder.encode(frame.reformat(format="yuv420p")):
            read += [stamp.read(decoded.to_ndarray(format="rgb24")) for decoded in decoder.decode(packet)]
    read += [stamp.read(decoded.to_ndarray(format="rgb24")) for decoded in decoder.decode(None)]
    assert [each.counter for each in read if each is not None] == list(range(20))
