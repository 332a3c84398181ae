"""The file sink: every frame at its own time, and the audio with it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from streaming import stamp
from streaming.errors import SinkError, SourceError
from streaming.frame import Frame
from streaming.sink import FileSink
from streaming.source import open_source
from tests.streaming.media import counters, make_clip, times


def through(source: Path, target: Path, *, audio: bool = True) -> None:
    """What ``sdxs-live video`` does, with nothing painted."""
    pictures = open_source(str(source), pace=False, loop=False)
    sink = FileSink(target, audio_from=source if audio else None, rate=pictures.rate)
    for frame in iter(pictures.read, None):
        sink.write(frame)
    sink.close()
    sink.close()
    pictures.close()


def sound(path: Path) -> tuple[str, float, float]:
    """Codec, begin and end in seconds of a file's audio."""
    with av.open(str(path)) as container:
        frames = list(container.decode(audio=0))
        last = frames[-1]
        return (
            container.streams.audio[0].codec_context.name,
            frames[0].time,
            last.time + last.samples / last.sample_rate,
        )


@pytest.mark.parametrize("ending", ["mp4", "mkv", "mov"])
def test_every_frame_at_its_own_time(tmp_path: Path, ending: str) -> None:
    source = make_clip(tmp_path / "in.mkv", frames=45, rate=25)
    target = tmp_path / f"out.{ending}"
    through(source, target)
    assert counters(target) == list(range(45))
    assert times(target) == pytest.approx(times(source), abs=0.001)
    with av.open(str(target)) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"
        assert not container.streams.audio


def test_uneven_times_are_kept(tmp_path: Path) -> None:
    pts = [0, 40, 41, 300, 1000, 1001]
    sink = FileSink(tmp_path / "out.mp4")
    for n, each in enumerate(pts):
        image = np.full((96, 96, 3), 100, np.uint8)
        stamp.draw(image, n, 1)
        sink.write(Frame(image=image, seq=n, pts=each, time_base=Fraction(1, 1000)))
    sink.close()
    assert times(tmp_path / "out.mp4") == pytest.approx([each / 1000 for each in pts], abs=0.001)
    assert counters(tmp_path / "out.mp4") == list(range(6))


def test_equal_times_lose_no_frame(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "out.mp4")
    for n, pts in enumerate([0, 3000, 3000, 3000, 2000, 6000]):
        image = np.full((96, 96, 3), 100, np.uint8)
        stamp.draw(image, n, 1)
        sink.write(Frame(image=image, seq=n, pts=pts))
    sink.close()
    assert counters(tmp_path / "out.mp4") == list(range(6))


@pytest.mark.parametrize(("ending", "audio"), [("mp4", "aac"), ("mkv", "libopus"), ("mov", "pcm_s16le")])
def test_audio_is_copied_as_it_is(tmp_path: Path, ending: str, audio: str) -> None:
    source = make_clip(tmp_path / f"in.{ending}", frames=60, audio=audio)
    target = tmp_path / f"out.{ending}"
    through(source, target)
    assert sound(target) == pytest.approx(sound(source), abs=0.03)
    assert packets(target) == packets(source), "not a bit is changed"


def packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def test_audio_that_the_container_does_not_take_becomes_aac(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mkv", frames=60, audio="pcm_u8")
    target = tmp_path / "out.mp4"
    through(source, target)
    codec, begin, end = sound(target)
    assert codec == "aac"
    assert begin == pytest.approx(0, abs=0.05)
    assert end == pytest.approx(2.0, abs=0.1)
    with av.open(str(target)) as container:
        tone = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])[4800:52800]
    assert np.abs(np.fft.rfft(tone)).argmax() == pytest.approx(440, abs=2), "still the tone of 440 Hz"


def test_audio_and_video_lie_side_by_side(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", frames=90, audio="aac")
    through(source, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        kinds = [packet.stream.type for packet in container.demux() if packet.size]
    assert "audio" in kinds[:40]
    assert "video" in kinds[-60:]


@pytest.mark.parametrize("size", [(97, 131), (96, 131), (97, 130)])
def test_odd_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    sink = FileSink(tmp_path / "out.mp4")
    for n in range(3):
        sink.write(Frame(image=np.full((*size, 3), 90, np.uint8), seq=n, pts=n * 3000))
    sink.close()
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.height, stream.width) == (size[0] & ~1, size[1] & ~1)
        assert len(list(container.decode(video=0))) == 3


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    for path in (tmp_path / "no" / "folder.mp4", tmp_path, tmp_path / "what.notaformat"):
        with pytest.raises(SinkError, match="can't be written") as error:
            FileSink(path)
        assert str(path) in str(error.value)


def test_a_container_without_h264(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=r"\.mp4"):
        FileSink(tmp_path / "out.webm")


def test_audio_from_nothing(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"nothing\.mp4"):
        FileSink(tmp_path / "out.mp4", audio_from=tmp_path / "nothing.mp4")


def test_after_close_nothing_more_is_taken(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "out.mp4")
    frame = Frame(image=np.zeros((96, 96, 3), np.uint8), seq=0, pts=0)
    sink.write(frame)
    sink.close()
    with pytest.raises(SinkError, match="closed"):
        sink.write(frame)


def test_closed_at_once_leaves_no_exception(tmp_path: Path) -> None:
    FileSink(tmp_path / "out.mkv").close()
