"""``sdxs-live video`` on generated films: every frame, its own time, the sound, and nothing left behind."""

from __future__ import annotations

import signal
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from typer.testing import CliRunner

from pipelines.condition import ConditionMap
from pipelines.settings import Settings
from realtime.cli import app
from realtime.film import open_film, paint_film
from realtime.model import wrap
from streaming.errors import SinkError
from streaming.frame import Frame
from tests.pipelines import tiny
from tests.realtime.fakes import FlatConditioner, NumberPainter, model_of

runner = CliRunner()
#: Uneven on purpose: milliseconds at which the frames are shown.
TIMES = [0, 40, 80, 200, 240, 500, 540, 580, 900, 1000]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tmp_path_factory.mktemp("model"))[1]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_clip(tmp_path / "clip.mp4", TIMES)


def make_clip(path: Path, times: list[int], *, sound: bool = True, size: tuple[int, int] = (96, 128)) -> Path:
    """Grey frames that get lighter, shown at ``times`` (ms), and a tone."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"bf": "0"})
        video.height, video.width = size
        video.time_base = video.codec_context.time_base = Fraction(1, 1000)
        audio = container.add_stream("aac", rate=48000, layout="mono") if sound else None
        for index, milliseconds in enumerate(times):
            image = np.full((*size, 3), 20 * index % 256, np.uint8)
            picture = av.VideoFrame.from_ndarray(image).reformat(format="yuv420p")
            picture.pts, picture.time_base = milliseconds, Fraction(1, 1000)
            container.mux(video.encode(picture))
        container.mux(video.encode(None))
        if audio:
            samples = (np.sin(np.arange(48000) / 20) * 0.3).astype(np.float32)[None]
            tone = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            tone.sample_rate, tone.pts = 48000, 0
            container.mux(audio.encode(tone))
            container.mux(audio.encode(None))
    return path


def shown(path: Path) -> list[tuple[int, np.ndarray]]:
    """(milliseconds, picture) of every frame."""
    with av.open(str(path)) as container:
        return [
            (round(float(picture.pts * picture.time_base) * 1000), picture.to_ndarray(format="rgb24"))
            for picture in container.decode(video=0)
        ]


def sound_of(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def paint(source: Path, target: Path, *more: object) -> tuple[int, str]:
    result = runner.invoke(app, ["video", str(source), str(target), *map(str, more)])
    return result.exit_code, result.stdout + result.stderr


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_every_frame_is_painted_at_its_own_time_and_the_sound_is_kept(model: Path, clip: Path, suffix: str) -> None:
    target = clip.with_name(f"painted{suffix}")
    code, output = paint(clip, target, "--model", model, "--backend", "eager", "--prompt", "ink")
    assert code == 0, output
    frames = shown(target)
    first = frames[0][0]  # Matroska has no times before 0, so the lead-in of the sound moves everything by 21 ms
    assert [milliseconds - first for milliseconds, _ in frames] == TIMES
    assert first == (0 if suffix == ".mp4" else 21)
    assert {picture.shape for _, picture in frames} == {(128, 128, 3)}
    assert sound_of(target) == sound_of(clip)
    assert sorted(path.name for path in clip.parent.iterdir()) == sorted([clip.name, target.name])


def test_each_frame_is_the_painting_of_its_own_frame(clip: Path) -> None:
    """The fake's pictures carry the number of the frame; with the codec in between, roughly."""
    target = clip.with_name("numbers.mp4")
    counts: list[int] = []
    with open_film(clip, target) as (source, sink):
        model = model_of(NumberPainter(size=(64, 64)))
        paint_film(source, sink, model, Settings(seed=200), painted=counts.append)
    frames = shown(target)
    assert sum(counts) == len(frames) == len(TIMES)
    for index, (_, picture) in enumerate(frames):
        red, green, _ = np.median(picture.reshape(-1, 3), axis=0)
        assert abs(red - 20 * index) < 14
        assert abs(green - 200) < 14


def test_a_walk_keeps_the_film_s_own_time(clip: Path) -> None:
    """However slow the model: at 1000 ms of the film a walk of half-second legs has come two seeds far."""
    painter = NumberPainter(size=(64, 64), seconds=0.01)
    with open_film(clip, clip.with_name("walk.mp4")) as (source, sink):
        settings = Settings(seed=100, walk="seeds", walk_seconds=0.5)
        paint_film(source, sink, model_of(painter), settings, painted=lambda count: None)
    film = [settings for (settings,) in painter.painted if settings.seed >= 100]
    assert [each.seed + each.seed_blend for each in film] == pytest.approx([100 + time / 500 for time in TIMES])
    assert [each.seed for each in painter.prepared if each.seed >= 100] == [100, 101, 102]


def test_each_frame_keeps_its_own_colours_and_maps(clip: Path) -> None:
    painter = NumberPainter(size=(64, 64), controls=("canny", "depth"))
    settings = Settings(seed=7, extra_controls={"depth": 0.5}, init_strength=0.5)
    with open_film(clip, clip.with_name("colours.mp4")) as (source, sink):
        paint_film(source, sink, model_of(painter), settings, painted=lambda count: None)
    colours = [colour for colour in painter.colours if colour is not None]
    assert [colour.shape for colour in colours] == [(1, 16, 16, 3)] * len(TIMES)
    for index, colour in enumerate(colours):
        assert abs(float(np.median(colour)) - 20 * index) < 14


def test_a_film_without_control_is_painted_from_text_alone(clip: Path) -> None:
    painter = NumberPainter(size=(64, 64))
    with open_film(clip, clip.with_name("text.mp4")) as (source, sink):
        paint_film(source, sink, model_of(painter), Settings(control="none"), painted=lambda count: None)
    assert [settings.kinds for (settings,) in painter.painted[-len(TIMES) :]] == [()] * len(TIMES)


def test_a_slow_map_is_drawn_at_every_nth_frame_whatever_the_pace(clip: Path) -> None:
    """A file gives the same maps each time: nothing depends on how fast the network is."""
    frames: list[int] = []

    class Slow(FlatConditioner):
        def is_slow(self, settings: Settings) -> bool:
            return True

        def drawer(self) -> Slow:
            return self

        def __call__(self, image: np.ndarray, settings: Settings) -> ConditionMap:
            frames.append(round(float(np.median(image)) / 20))
            return super().__call__(image, settings)

    painter = NumberPainter(size=(64, 64), controls=("depth",))
    with open_film(clip, clip.with_name("depth.mp4")) as (source, sink):
        model = wrap(painter, {"depth": Slow("depth")})
        paint_film(source, sink, model, Settings(control="depth", depth_every=3), painted=lambda count: None)
    assert frames == [0, 3, 6, 9]


def test_a_film_without_sound_stays_silent(model: Path, tmp_path: Path) -> None:
    source, target = make_clip(tmp_path / "silent.mp4", [0, 40], sound=False), tmp_path / "painted.mp4"
    assert paint(source, target, "--model", model, "--backend", "eager")[0] == 0
    with av.open(str(target)) as container:
        assert not container.streams.audio
    assert len(shown(target)) == 2


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        ("clip.mp4", "clip.mp4", "is the input itself"),
        ("clip.mp4", "no/such/folder/out.mp4", "no folder"),
        ("nowhere.mp4", "out.mp4", "nowhere.mp4"),
        ("noise.mp4", "out.mp4", "noise.mp4"),
        ("clip.mp4", "out.txt", "out.txt names no film"),
    ],
)
def test_a_bad_path_is_one_clear_line_and_leaves_nothing(clip: Path, source: str, target: str, words: str) -> None:
    folder = clip.parent
    (folder / "noise.mp4").write_bytes(bytes(range(256)) * 40)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    code, output = paint(folder / source, folder / target)
    assert code in (1, 2)
    assert words in output
    assert output.count("\n") == 1
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_an_output_that_fails_in_the_middle_keeps_the_old_file_and_leaves_no_new_one(clip: Path) -> None:
    target = clip.with_name("painted.mp4")
    target.write_bytes(b"what was there before")

    class FullDisk:
        count = 0

        def write(self, frame: Frame) -> None:
            self.count += 1
            if self.count == 3:
                raise SinkError("The disk is full.")

        def close(self) -> None:
            pass

    model = model_of(NumberPainter(size=(64, 64)))
    with pytest.raises(SinkError, match="full"), open_film(clip, target) as (source, _):
        paint_film(source, FullDisk(), model, Settings(), painted=lambda count: None)
    assert target.read_bytes() == b"what was there before"
    assert sorted(path.name for path in clip.parent.iterdir()) == ["clip.mp4", "painted.mp4"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_nothing_behind(clip: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals) -> None:
    painted = 0

    def stop_at_the_fifth(settings: object) -> None:
        nonlocal painted
        painted += 1
        if painted == 5:
            signal.raise_signal(number)

    model = model_of(NumberPainter(size=(64, 64), spoil=stop_at_the_fifth))
    monkeypatch.setattr("realtime.model.load", lambda *_, **__: model)
    code, output = paint(clip, clip.with_name("painted.mp4"))
    assert (code, painted) == (130, 5)
    assert output.endswith("sdxs-live: stopped; nothing was written.\n")
    assert [path.name for path in clip.parent.iterdir()] == ["clip.mp4"]
