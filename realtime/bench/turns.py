"""Contenders side by side: each in a process of its own, taking turns of a few pictures.

So a busy moment of the machine hits all of them, and the idle threads of one library don't slow the next one down.
"""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import multiprocessing.process
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realtime.bench.errors import CantRun
from realtime.bench.picture import moving_picture
from realtime.bench.timing import peak_memory
from realtime.bench.weights import Subject

Picture = NDArray[np.uint8]
Paint = Callable[[Picture], object]
#: Makes what is timed; runs in the contender's process, so it is a function of a module.
Make = Callable[[Subject], Paint]

#: Different pictures that a contender paints, one after the other.
PICTURES = 10
#: So long each may load and compile; whoever isn't ready then doesn't take part.
READY_SECONDS = 200.0
#: Seconds of one turn, about.
TURN_SECONDS = 0.3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """Milliseconds of each picture, and bytes at most (see ``realtime.bench.timing.peak_memory``)."""

    milliseconds: Sequence[float]
    peak_bytes: int


def take_turns(
    contenders: Mapping[str, Make], subject: Subject, seconds: float, *, ready_seconds: float = READY_SECONDS
) -> tuple[dict[str, Outcome], list[str]]:
    """The outcome of each contender, and for each that can't run here a sentence. A first round is not counted."""
    with contextlib.ExitStack() as stack:
        workers = {name: stack.enter_context(_worker(make, subject)) for name, make in contenders.items()}
        deadline, skipped = time.monotonic() + ready_seconds, []
        for name, worker in list(workers.items()):
            try:
                _answer(worker, max(1.0, deadline - time.monotonic()))
            except Exception as error:  # whatever it was: the others are still to be measured
                skipped.append(f"{name}: {_sentence(error)}")
                del workers[name]
        return _rounds(workers, seconds), skipped


def _rounds(workers: Mapping[str, Connection], seconds: float) -> dict[str, Outcome]:
    times: dict[str, list[float]] = {name: [] for name in workers}
    rounds, end = 0, time.monotonic() + seconds
    while workers and (rounds < 2 or time.monotonic() < end):
        for name, worker in workers.items():
            worker.send("turn")
            turn = _answer(worker)
            times[name] += turn if rounds else []
        rounds += 1
    return {name: Outcome(milliseconds=times[name], peak_bytes=_memory(worker)) for name, worker in workers.items()}


def _memory(worker: Connection) -> int:
    worker.send("memory")
    return int(_answer(worker))


@contextlib.contextmanager
def _worker(make: Make, subject: Subject) -> Iterator[Connection]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve_turns, args=(theirs, make, subject), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours
    finally:
        ours.close()
        _end(process)


def _end(process: multiprocessing.process.BaseProcess) -> None:
    process.join(3)
    if process.is_alive():  # it compiles, and doesn't look at its pipe
        process.kill()
        process.join()


def _answer(worker: Connection, timeout: float = READY_SECONDS) -> Any:
    if not worker.poll(timeout):
        raise CantRun(f"it was not ready after {timeout:.0f} s of loading and compiling.")
    try:
        answer = worker.recv()
    except EOFError:
        raise CantRun("its process ended; its message is above.") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _serve_turns(connection: Connection, make: Make, subject: Subject) -> None:
    """The contender's process: says that it is ready, then paints in turns, until the other end is closed."""
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"  # of transformers too, which is imported later
    height, width = subject.preset.size
    images = [moving_picture(index, height, width) for index in range(PICTURES)]
    try:
        paint = make(subject)
        count = _pictures_a_turn([_milliseconds(paint, image) for image in images])
        connection.send("ready")
    except Exception as error:
        connection.send(_plain(error))
        return
    with contextlib.suppress(EOFError, BrokenPipeError):
        while question := connection.recv():
            if question == "turn":
                connection.send([_milliseconds(paint, images[index % PICTURES]) for index in range(count)])
            else:
                connection.send(peak_memory(subject.device))


def _pictures_a_turn(times: Sequence[float]) -> int:
    """The last ones of a warm-up tell how quick it is."""
    return int(np.clip(TURN_SECONDS * 1000 / max(min(times), 1e-3), 2, 100))


def _milliseconds(paint: Paint, image: Picture) -> float:
    start = time.perf_counter()
    paint(image)
    return (time.perf_counter() - start) * 1000


def _plain(error: Exception) -> Exception:
    """What can be sent to another process, which may not know the exception's class."""
    return CantRun(_sentence(error))


def _sentence(error: Exception) -> str:
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return first if isinstance(error, CantRun) else f"{type(error).__name__}: {first}"[:300]
