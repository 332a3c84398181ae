"""How many people share a device: users of 30 frames/s are added until their pictures get old, or rare."""

from __future__ import annotations

import asyncio
import contextlib
import re
import statistics
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipelines.settings import Settings
from realtime.bench.errors import need
from realtime.bench.fewer import Fewer
from realtime.bench.lines import conditioners, included
from realtime.bench.picture import moving_picture
from realtime.bench.report import Cell, Report, Table, percentile
from realtime.bench.simulated import simulated
from realtime.bench.weights import subject
from streaming.errors import NoFreePlace
from streaming.frame import Frame

if TYPE_CHECKING:
    from realtime.hub import Hub
    from realtime.session import Session

STEPS = (1, 2, 3, 4, 6, 8, 12, 16, 20, 24, 32)
FPS = 30.0
#: What must hold for a user: the age of the pictures, p95 in ms, and how many come a second.
OLDEST_MS, FEWEST_FPS = 100.0, 24.0
WARM_UP_SECONDS = 0.7
#: The frame rate that admission is told to keep, so that the limits can be seen; and the most that are ever admitted.
PROMISE_NOTHING, MOST = 1e-3, 64
PICTURES = 12


def run(
    *,
    model: str = "auto",
    painter: str | None = None,
    seconds: float = 44.0,
    steps: Sequence[int] = STEPS,
    batches: Sequence[int] = (),
) -> Report:
    """``painter``: ``simulated:4ms`` instead of a model. ``seconds``: for all steps together, were all of them run.

    ``batches``: those that the painter is built for, if not all that it can be.
    Raises CantRun where the packages of the loop are missing and BadInput for a painter that there isn't.
    """
    need("prometheus-client")
    with _pipeline(model, painter) as (pipeline, settings, about):
        pipeline = Fewer(pipeline, batches or pipeline.batches)
        about = {**about, "batches": ", ".join(map(str, pipeline.batches))}
        admitted = asyncio.run(_admitted(pipeline, settings))
        rows = asyncio.run(_climb(pipeline, settings, steps, seconds / len(steps)))
    limits = {
        f"users with a p95 age of {OLDEST_MS:.0f} ms or less": _last(rows, _is_young),
        f"users who get {FEWEST_FPS:.0f} frames/s or more each": _last(rows, _is_fluent),
        "users with both": _last(rows, lambda row: _is_young(row) and _is_fluent(row)),
        "users that the server admits": admitted,
    }
    return Report(
        what="sessions",
        timed=f"users with {FPS:.0f} pictures a second each, age from capture to delivery in the server, {included()}, "
        "through real sessions, pool, scheduler and engine; without network and video codecs",
        subject=about,
        tables=[Table(name="users", about="each user has a prompt and seed of their own", rows=rows)],
        figures=limits,
    )


@contextlib.contextmanager
def _pipeline(model: str, painter: str | None) -> Iterator[tuple[Any, Settings, Mapping[str, Cell]]]:
    if painter:
        pretender = simulated(painter)
        yield pretender, pretender.preset.defaults, {"model": pretender.name, "size": "{1}x{0}".format(*pretender.size)}
        return
    from pipelines import SDXSPipeline

    with subject(model) as what:
        pipe = SDXSPipeline.from_pretrained(what.name)
        yield pipe, what.settings, {**what.about(), "backend": pipe.backend_name}


async def _admitted(pipeline: Any, settings: Settings) -> int:
    """How many the server takes by itself, which goes by the milliseconds of its warm-up."""
    hub = await _hub(pipeline, max_sessions=MOST)
    users: list[_User] = []
    try:
        while len(users) < MOST:
            users.append(_User(hub, settings, number=len(users)))
    except NoFreePlace:
        return len(users)
    finally:
        await hub.aclose()
    return len(users)


async def _hub(pipeline: Any, **options: Any) -> Hub:
    from realtime.hub import Hub
    from realtime.model import wrap

    hub = Hub(lambda: wrap(pipeline, conditioners()), **options)
    hub.start()
    await hub.wait_ready()
    return hub


async def _climb(pipeline: Any, settings: Settings, steps: Sequence[int], seconds: float) -> list[Mapping[str, Cell]]:
    """A row for each step up to that at which both limits are passed. The server is told to promise nobody anything."""
    hub = await _hub(pipeline, max_sessions=max(steps), fps=PROMISE_NOTHING)
    images = [moving_picture(index, *pipeline.size) for index in range(PICTURES)]
    users: list[_User] = []
    rows: list[Mapping[str, Cell]] = []
    try:
        for count in steps:
            while len(users) < count:
                users.append(_User(hub, settings, number=len(users)))
            rows.append(await _step(hub, users, images, seconds))
            if not (_is_young(rows[-1]) or _is_fluent(rows[-1])):
                break
    finally:
        await hub.aclose()
    return rows


class _User:
    """A session of its own settings, and what was delivered to it."""

    def __init__(self, hub: Hub, settings: Settings, *, number: int) -> None:
        own = {"prompt": f"{settings.prompt}, {number}", "seed": number}
        self.session: Session = hub.open(f"user-{number}", settings={**settings.as_dict(), **own})
        self.ages: list[float] = []
        self.session.subscribe(self._deliver)

    def _deliver(self, frame: Frame) -> None:
        self.ages.append((time.monotonic_ns() - frame.captured_ns) / 1e6)


async def _step(
    hub: Hub, users: Sequence[_User], images: Sequence[NDArray[np.uint8]], seconds: float
) -> Mapping[str, Cell]:
    with _Pacer([user.session for user in users], images):
        await asyncio.sleep(WARM_UP_SECONDS)
        before, batches_before = _counts(users), _batches(hub)
        for user in users:
            user.ages.clear()
        start = time.monotonic()
        await asyncio.sleep(seconds)
        lasted = time.monotonic() - start
        after, batches = _counts(users), _batches(hub)
        ages = [age for user in users for age in user.ages]
        rates = [len(user.ages) / lasted for user in users]
    came, dropped = (now - then for now, then in zip(after, before, strict=True))
    forwards, pictures = (now - then for now, then in zip(batches, batches_before, strict=True))
    return {
        "users": len(users),
        "fps_min": round(min(rates), 1),
        "fps_mean": round(statistics.mean(rates), 1),
        "age_p50_ms": round(percentile(ages, 50), 1) if ages else None,
        "age_p95_ms": round(percentile(ages, 95), 1) if ages else None,
        "batch_mean": round(pictures / forwards, 2) if forwards else None,
        "dropped": f"{dropped / came:.0%}" if came else None,
    }


def _counts(users: Sequence[_User]) -> tuple[int, int]:
    """Pictures that came and that were dropped, so far."""
    rows = [user.session.status() for user in users]
    return sum(row["frames_in"] for row in rows), sum(row["frames_dropped"] for row in rows)


def _batches(hub: Hub) -> tuple[float, float]:
    """Forwards and pictures in them, so far, as the metrics page tells them."""
    page = hub.metrics()[0].decode()
    forwards, pictures = (
        re.search(rf"^sdxs_live_batch_size_{name} (\S+)$", page, re.MULTILINE) for name in ("count", "sum")
    )
    return (float(forwards[1]), float(pictures[1])) if forwards and pictures else (0.0, 0.0)


class _Pacer:
    """One thread that pushes a picture to each session in turn, 30 a second to each, evenly spread."""

    def __init__(self, sessions: Sequence[Session], images: Sequence[NDArray[np.uint8]]) -> None:
        self._sessions, self._images = sessions, images
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pacer", daemon=True)

    def _run(self) -> None:
        start, period = time.monotonic(), 1 / FPS / len(self._sessions)
        turn = 0
        while not self._stop.wait(max(0.0, start + turn * period - time.monotonic())):
            seq, which = divmod(turn, len(self._sessions))
            image = self._images[(seq + which) % len(self._images)]
            self._sessions[which].push(Frame(image=image, seq=seq, pts=seq * 3000))
            turn += 1

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def _is_young(row: Mapping[str, Any]) -> bool:
    return row["age_p95_ms"] is not None and row["age_p95_ms"] <= OLDEST_MS


def _is_fluent(row: Mapping[str, Any]) -> bool:
    return bool(row["fps_min"] >= FEWEST_FPS)


def _last(rows: Sequence[Mapping[str, Cell]], holds: Any) -> int:
    """The users of the last step before the first one at which it doesn't hold any more."""
    users = 0
    for row in rows:
        if not holds(row):
            break
        users = int(row["users"] or 0)
    return users
