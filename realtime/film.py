"""A video file, every frame of it, in order (``sdxs-live video``), through the server's own engine and preparation."""

from __future__ import annotations

import contextlib
import dataclasses
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

from pipelines.settings import Settings
from pipelines.steady import Steadier
from pipelines.walk import walk
from realtime.engine import Painted
from realtime.errors import BadInput
from realtime.maps import MapDesk
from realtime.model import Model
from realtime.prepare import Prepared, Preparer, cached_by
from realtime.slot import Slot
from streaming.frame import Frame
from streaming.sink import FileSink, Sink
from streaming.source import Source
from streaming.source_file import FileSource

SUFFIXES = (".mp4", ".mov", ".mkv")


def check_paths(source: Path, target: Path) -> None:
    """Before anything slow. Raises BadInput when the target is the source itself, no film's name, or has no folder."""
    if target.exists() and source.exists() and target.samefile(source):
        raise BadInput(f"{target} is the input itself; give another name for the output.")
    if target.suffix.lower() not in SUFFIXES:
        raise BadInput(f"{target.name} names no film format; end it in {', '.join(SUFFIXES)}.")
    if not target.parent.is_dir():
        raise BadInput(f"There is no folder {target.parent}; make it first.")


@contextlib.contextmanager
def open_film(source: Path, target: Path) -> Iterator[tuple[FileSource, FileSink]]:
    """The two files. What is written appears as ``target`` only when the block ends well, and else not at all.

    Raises ``streaming.errors.SourceError`` or ``SinkError``.
    """
    part = target.with_name(f".{target.stem}.part{target.suffix}")
    reading = FileSource(source, pace=False, loop=False)
    try:
        with contextlib.closing(reading):
            writing = FileSink(part, audio_from=source, rate=reading.rate)
            with contextlib.closing(writing):
                yield reading, writing
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def paint_film(source: Source, sink: Sink, model: Model, settings: Settings, *, painted: Callable[[int], None]) -> None:
    """Paint every frame of ``source`` into ``sink``, pts kept; ``painted(count)`` after each batch.

    Reading and maps, the model, and writing run side by side, each at most one batch ahead of the next.
    """
    engine = model.engine()
    cached: Hashable = None
    with _Reader(source, model, settings, engine.max_batch) as reader, _Writer(sink, painted) as writer:
        flights: deque[tuple[Slot, list[Prepared]]] = deque()
        while batch := reader.next():
            for each in batch:
                if cached != (cached := cached_by(each.settings)):
                    engine.prepare(each.settings)
            flights.append((engine.begin(*_columns(batch)), batch))
            if len(flights) == engine.depth:
                slot, frames = flights.popleft()
                writer.put(frames, engine.finish(slot))
        for slot, frames in flights:
            writer.put(frames, engine.finish(slot))


def _columns(batch: list[Prepared]) -> tuple[list[Any], list[Settings], list[Any]]:
    """Maps, settings and colours, as the engine takes them."""
    return [each.planes for each in batch], [each.settings for each in batch], [each.colours for each in batch]


class _Reader:
    """Has the next batch read and prepared while the model is at this one. Frames are mapped in order, each its own."""

    def __init__(self, source: Source, model: Model, settings: Settings, batch: int) -> None:
        self._source = source
        self._desk = MapDesk(model.conditioners, device=model.painter.device, wait=True)
        self._preparer = Preparer(size=model.painter.size, keeper=self._desk.keeper())
        self._settings = settings
        self._batch = batch
        self._start: Fraction | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="read")
        self._next: Future[list[Prepared]] = self._thread.submit(self._read)

    def next(self) -> list[Prepared]:
        """Empty at the end. Raises what reading raised."""
        batch = self._next.result()
        if batch:
            self._next = self._thread.submit(self._read)
        return batch

    def _read(self) -> list[Prepared]:
        batch: list[Prepared] = []
        while len(batch) < self._batch and (frame := self._source.read()) is not None:
            batch.append(self._prepare(frame))
        return batch

    def _prepare(self, frame: Frame) -> Prepared:
        """By the film's own clock: so far has a walk come, and so old is a map, however long the painting takes."""
        shown_at = frame.pts * frame.time_base
        self._start = shown_at if self._start is None else self._start
        seconds = float(shown_at - self._start)
        timed = dataclasses.replace(frame, captured_ns=round(seconds * 1e9))
        return self._preparer(timed, walk(self._settings, seconds))

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(cancel_futures=True)
        self._preparer.close()
        self._desk.close()


class _Writer:
    """Makes one batch steady and writes it while the model is at the next."""

    def __init__(self, sink: Sink, painted: Callable[[int], None]) -> None:
        self._sink = sink
        self._painted = painted
        self._steady = Steadier()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="write")
        self._last: Future[None] | None = None

    def put(self, batch: list[Prepared], painted: Painted) -> None:
        """Raises what writing an earlier batch raised."""
        self._settle()
        self._last = self._thread.submit(self._write, batch, painted)

    def _write(self, batch: list[Prepared], painted: Painted) -> None:
        for each, picture in zip(batch, painted.pictures, strict=True):
            shown = self._steady.picture(each.image, picture, each.settings)
            self._sink.write(each.frame.replace_image(shown))
        self._painted(len(batch))

    def _settle(self) -> None:
        last, self._last = self._last, None
        if last:
            last.result()

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, failed: object, *_: object) -> None:
        try:
            if failed is None:
                self._settle()
        finally:
            self._thread.shutdown()
