"""What happens when in the real loop: who prepares, uploads, computes, downloads and delivers which frame.

Nothing of the loop knows of it: while a Tracer watches, it stands in front of a few of its methods and wraps the
device's streams, so a loop that isn't watched pays nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from realtime import engine as engine_module
from realtime.engine import Engine
from realtime.prepare import Preparer
from realtime.session import Session
from realtime.streams import Event, Stream, Streams
from streaming.frame import Frame

#: Where spans are drawn, from the camera to the viewer. Threads of the pool follow "prepare" by number.
TRACKS = ("prepare", "inference thread", "upload", "compute", "download", "frames")
STAGES = ("upload", "compute", "download")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """``begin`` and ``end``: milliseconds since the trace began. ``seqs``: of the frames that it is about."""

    name: str
    track: str
    begin: float
    end: float
    seqs: tuple[int, ...]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _DeviceSpan:
    name: str
    begin: Event
    end: Event
    seqs: tuple[int, ...]


class Tracer:
    """Watches the engines that are made and the sessions that run within ``watching``. One session at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._host: list[Span] = []
        self._device: list[_DeviceSpan] = []
        self._taken: list[int] = []
        self._flying: tuple[int, ...] = ()
        self._threads: dict[int, str] = {}
        self._zero: Event | None = None
        self._zero_ns = 0

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for owner, name, around in (
                (Preparer, "fitted", functools.partial(self._around_prepare, "fit")),
                (Preparer, "draw", functools.partial(self._around_prepare, "maps")),
                (Session, "taken", self._around_taken),
                (Engine, "begin", self._around_begin),
                (Engine, "finish", self._around_finish),
                (engine_module, "streams_for", self._around_streams_for),
            ):
                original = getattr(owner, name)
                setattr(owner, name, around(original))
                stack.callback(setattr, owner, name, original)
            yield

    def start(self) -> None:
        """From here on it is kept. Call it when the loop runs."""
        with self._lock:
            self._host.clear()
            self._device.clear()
        assert self._zero is not None, "an engine is made while the tracer watches"
        self._zero.record()
        self._zero.synchronize()
        self._zero_ns = time.monotonic_ns()

    def delivered(self, frame: Frame) -> None:
        """A viewer got a painted frame; give this to ``Session.subscribe``."""
        self._add("frame", "frames", frame.captured_ns, time.monotonic_ns(), (frame.seq,))

    def spans(self) -> list[Span]:
        """All of them, by their beginning. Call it when the device has nothing more to do."""
        assert self._zero is not None
        device = [
            Span(
                name=each.name,
                track=each.name,
                begin=self._zero.elapsed_time(each.begin),
                end=self._zero.elapsed_time(each.end),
                seqs=each.seqs,
            )
            for each in self._device
        ]
        return sorted((each for each in [*self._host, *device] if each.begin >= 0), key=lambda span: span.begin)

    def _add(self, name: str, track: str, begin_ns: int, end_ns: int, seqs: tuple[int, ...]) -> None:
        begin, end = ((each - self._zero_ns) / 1e6 for each in (begin_ns, end_ns))
        with self._lock:
            self._host.append(Span(name=name, track=track, begin=begin, end=end, seqs=seqs))

    # What stands in front of the loop's methods.

    def _around_prepare(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def prepare(preparer: Preparer, frame: Frame, *rest: Any, **named: Any) -> Any:
            begin = time.monotonic_ns()
            prepared = original(preparer, frame, *rest, **named)
            self._add(name, self._thread(), begin, time.monotonic_ns(), (frame.seq,))
            return prepared

        return prepare

    def _around_taken(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def taken(session: Session, prepared: Any) -> None:
            self._taken.append(prepared.frame.seq)
            original(session, prepared)

        return taken

    def _around_begin(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def begin(engine: Engine, *rest: Any, **named: Any) -> Any:
            self._flying, self._taken = tuple(self._taken), []
            since = time.monotonic_ns()
            slot = original(engine, *rest, **named)
            self._add("enqueue", "inference thread", since, time.monotonic_ns(), self._flying)
            return slot

        return begin

    def _around_finish(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def finish(engine: Engine, slot: Any) -> Any:
            since = time.monotonic_ns()
            painted = original(engine, slot)
            self._add("wait, copy out", "inference thread", since, time.monotonic_ns(), ())
            return painted

        return finish

    def _around_streams_for(self, original: Callable[..., Streams]) -> Callable[..., Streams]:
        def streams_for(device: Any) -> Streams:
            streams = original(device)
            self._zero = streams.event()
            return _TracedStreams(streams, self._on_device)

        return streams_for

    def _on_device(self, name: str, begin: Event, end: Event) -> None:
        if self._flying:
            self._device.append(_DeviceSpan(name=name, begin=begin, end=end, seqs=self._flying))

    def _thread(self) -> str:
        number = threading.get_ident()
        with self._lock:
            return self._threads.setdefault(number, f"prepare {len(self._threads) + 1}")


class _TracedStreams:
    """Marks the beginning and the end of all work that is given to the device's streams."""

    def __init__(self, streams: Streams, note: Callable[[str, Event, Event], None]) -> None:
        self._streams = streams
        self.depth = streams.depth
        self.upload: Stream = _TracedStream("upload", streams.upload, streams, note)
        self.compute: Stream = _TracedStream("compute", streams.compute, streams, note)
        self.download: Stream = _TracedStream("download", streams.download, streams, note)

    def event(self) -> Event:
        return self._streams.event()


class _TracedStream:
    def __init__(self, name: str, stream: Stream, streams: Streams, note: Callable[[str, Event, Event], None]) -> None:
        self._name, self._stream, self._streams, self._note = name, stream, streams, note

    def submit(self, work: Callable[[], object], *, done: Event, after: Event | None = None) -> None:
        begin, end = self._streams.event(), self._streams.event()

        def marked() -> None:
            begin.record()
            work()
            end.record()

        self._stream.submit(marked, done=done, after=after)
        self._note(self._name, begin, end)


def as_chrome(spans: Sequence[Span], *, about: dict[str, Any] | None = None) -> dict[str, Any]:
    """The Trace Event Format, which chrome://tracing and Perfetto open. Frames, which overlap, are async events."""
    tracks = sorted({span.track for span in spans}, key=_place)
    numbers = {track: number for number, track in enumerate(tracks, start=1)}
    events: list[dict[str, Any]] = [
        {"ph": "M", "pid": 1, "tid": number, "name": "thread_name", "args": {"name": track}}
        for track, number in numbers.items()
    ]
    for span in spans:
        common = {"name": span.name, "cat": span.track, "pid": 1, "tid": numbers[span.track]}
        begin, end = round(span.begin * 1000, 1), round(span.end * 1000, 1)
        if span.track == "frames":
            events.append({**common, "ph": "b", "id": span.seqs[0], "ts": begin, "args": {"seq": span.seqs[0]}})
            events.append({**common, "ph": "e", "id": span.seqs[0], "ts": end})
        else:
            events.append({**common, "ph": "X", "ts": begin, "dur": round(end - begin, 1), "args": {"seqs": span.seqs}})
    return {"traceEvents": events, "displayTimeUnit": "ms", "otherData": about or {}}


def write_chrome(file: Path, spans: Sequence[Span], *, about: dict[str, Any] | None = None) -> None:
    file.write_text(json.dumps(as_chrome(spans, about=about)), encoding="utf-8")


def _place(track: str) -> tuple[int, str]:
    return next(place for place, known in enumerate(TRACKS) if track.startswith(known)), track


def busy(spans: Sequence[Span], stage: str) -> list[tuple[float, float]]:
    """The stretches of time, in ms, in which a stage (a track) did something: apart from each other, in order."""
    stretches: list[tuple[float, float]] = []
    for begin, end in sorted((span.begin, span.end) for span in spans if span.track.startswith(stage)):
        if stretches and begin <= stretches[-1][1]:
            stretches[-1] = stretches[-1][0], max(end, stretches[-1][1])
        else:
            stretches.append((begin, end))
    return stretches


def share_beside(spans: Sequence[Span], stage: str, other: str) -> float:
    """How much of a stage's time, 0 to 1, another stage was at work too; not a number for a stage without time."""
    mine, theirs = busy(spans, stage), busy(spans, other)
    total = sum(end - begin for begin, end in mine)
    both = sum(
        max(0.0, min(end, other_end) - max(begin, other_begin))
        for begin, end in mine
        for other_begin, other_end in theirs
    )
    return both / total if total else float("nan")
