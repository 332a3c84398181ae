"""Sources: files at their own pace or as fast as they are read, patterns, cameras, and what is none."""

from __future__ import annotations

import contextlib
import itertools
import struct
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from streaming import stamp
from streaming.errors import SourceError
from streaming.source import Source, open_source
from tests.streaming.media import make_clip


def read(source: Source, count: int) -> list:
    frames = [source.read() for _ in range(count)]
    assert all(frame is not None for frame in frames)
    return frames


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_clip(tmp_path / "clip.mp4", frames=12)


class TestFile:
    def test_every_picture_once(self, clip: Path) -> None:
        source = open_source(str(clip), pace=False, loop=False)
        frames = list(iter(source.read, None))
        assert [stamp.read(frame.image).counter for frame in frames] == list(range(12))
        assert [frame.seq for frame in frames] == list(range(12))
        assert [frame.pts * frame.time_base for frame in frames] == [
            n * frames[1].pts * frames[1].time_base for n in range(12)
        ]
        assert source.read() is None
        source.close()

    def test_it_tells_its_size_rate_and_length(self, clip: Path) -> None:
        source = open_source(str(clip), pace=False, loop=False)
        assert (source.size, source.rate, source.frame_count) == ((120, 160), 30, 12)
        assert source.name == "clip.mp4"
        source.close()

    def test_looped_it_counts_on(self, clip: Path) -> None:
        source = open_source(str(clip), pace=False)
        frames = read(source, 30)
        assert [stamp.read(frame.image).counter for frame in frames] == [n % 12 for n in range(30)]
        assert [frame.seq for frame in frames] == list(range(30))
        steps = {b.pts - a.pts for a, b in itertools.pairwise(frames)}
        assert len(steps) == 1, f"the seam has a step of its own: {steps}"
        source.close()

    def test_a_file_that_starts_late_keeps_its_pts(self, tmp_path: Path) -> None:
        source = open_source(str(make_clip(tmp_path / "late.mkv", frames=4, start=90_000)), pace=False)
        frames = read(source, 9)
        assert frames[0].pts * frames[0].time_base == 1
        assert all(a.pts < b.pts for a, b in itertools.pairwise(frames))
        source.close()

    def test_at_its_own_pace(self, tmp_path: Path) -> None:
        source = open_source(str(make_clip(tmp_path / "slow.mp4", frames=4, rate=10)))
        frames = read(source, 4)
        elapsed = (frames[-1].captured_ns - frames[0].captured_ns) / 1e9
        assert elapsed >= 0.29, "four pictures at 10 a second take 0.3 s"
        source.close()

    def test_phone_pictures_stand_upright(self, tmp_path: Path) -> None:
        path = make_clip(tmp_path / "phone.mp4", frames=2)
        data = bytearray(path.read_bytes())
        at = data.index(b"tkhd") + 4 + 40  # the display matrix of a version 0 track header (ISO 14496-12, 8.3.2)
        quarter_turn = [0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30]
        data[at : at + 36] = struct.pack(">9i", *quarter_turn)
        path.write_bytes(bytes(data))
        source = open_source(str(path), pace=False, loop=False)
        image = source.read().image
        assert image.shape == (160, 120, 3)
        # A quarter turn clockwise: the stamp along the top edge is now along the right one.
        assert stamp.read(np.ascontiguousarray(np.rot90(image))) is not None
        source.close()

    @pytest.mark.parametrize(
        ("name", "content", "says"),
        [
            ("nothing.mp4", None, "no file"),
            ("text.mp4", b"this is no video", "can't be read"),
            ("empty.mp4", b"", "can't be read"),
        ],
    )
    def test_no_video(self, tmp_path: Path, name: str, content: bytes | None, says: str) -> None:
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(SourceError, match=says) as error:
            open_source(str(path))
        assert name in str(error.value)

    def test_sound_alone_is_no_video(self, tmp_path: Path) -> None:
        import wave

        with wave.open(str(tmp_path / "tone.wav"), "wb") as sound:
            sound.setnchannels(1), sound.setsampwidth(2), sound.setframerate(8000)
            sound.writeframes(bytes(1600))
        with pytest.raises(SourceError, match="no video"):
            open_source(str(tmp_path / "tone.wav"))

    def test_a_file_cut_short_ends_or_says_so(self, tmp_path: Path) -> None:
        path = make_clip(tmp_path / "cut.mkv", frames=60)
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
        source = open_source(str(path), pace=False, loop=False)
        count = 0
        with contextlib.suppress(SourceError):
            while source.read() is not None:
                count += 1
        assert 10 < count < 60
        source.close()

    def test_closing_ends_a_waiting_read(self, tmp_path: Path) -> None:
        source = open_source(str(make_clip(tmp_path / "slow.mkv", frames=3, rate=1)))
        assert source.read() is not None
        got: list[object] = ["nothing yet"]
        reader = threading.Thread(target=lambda: got.append(source.read()))
        reader.start()
        source.close()
        source.close()
        reader.join(5)
        assert not reader.is_alive()
        assert got[-1] is None
        assert source.read() is None


class TestPattern:
    def test_it_moves(self) -> None:
        source = open_source("test:", pace=False)
        frames = read(source, 3)
        assert frames[0].image.shape == (512, 512, 3)
        assert [frame.seq for frame in frames] == [0, 1, 2]
        assert [frame.pts for frame in frames] == [0, 3000, 6000]
        assert not np.array_equal(frames[0].image, frames[2].image)
        assert cv2.Canny(frames[0].image, 100, 200).mean() > 3, "there is something to follow"
        assert stamp.read(frames[1].image) is None
        source.close()

    def test_stamped(self) -> None:
        source = open_source("test:stamp", pace=False)
        stamps = [stamp.read(frame.image) for frame in read(source, 4)]
        assert [each.counter for each in stamps] == [0, 1, 2, 3]
        assert stamps[-1].age_ms(time.monotonic_ns() // 1_000_000) < 5000
        source.close()

    def test_closing_ends_it(self) -> None:
        source = open_source("test:")
        read(source, 2)
        source.close()
        source.close()
        assert source.read() is None


class FakeCapture:
    """OpenCV's end of a camera that gives three pictures."""

    def __init__(self, device: object) -> None:
        self.device = device
        self.left = 3
        self.released = 0

    def isOpened(self) -> bool:
        return self.device in (0, "/dev/video7")

    def set(self, *_: object) -> None: ...

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.left -= 1
        blue = np.zeros((48, 64, 3), np.uint8)
        blue[..., 0] = 255
        return (True, blue) if self.left >= 0 else (False, None)

    def release(self) -> None:
        self.released += 1


class TestCamera:
    @pytest.mark.parametrize("url", ["camera:63", "63", "/dev/video63"])
    def test_one_that_is_not_there(self, url: str) -> None:
        with pytest.raises(SourceError, match=r"no camera .*63"):
            open_source(url)

    @pytest.mark.parametrize("url", ["camera:0", "0", "/dev/video7"])
    def test_its_pictures(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cv2, "VideoCapture", FakeCapture)
        source = open_source(url)
        frames = read(source, 3)
        assert frames[0].image[0, 0].tolist() == [0, 0, 255], "OpenCV gives BGR"
        assert [frame.seq for frame in frames] == [0, 1, 2]
        assert frames[0].pts == 0 < frames[1].pts < frames[2].pts
        with pytest.raises(SourceError, match="plugged in"):
            source.read()
        source.close()
        source.close()
        assert source.read() is None


@pytest.mark.parametrize("url", ["rtsp://camera.example/1", "screen:", "test:nothing", "camera:x"])
def test_what_is_no_source(url: str) -> None:
    with pytest.raises(SourceError, match="no source"):
        open_source(url)
