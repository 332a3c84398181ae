"""Scheduler: one inference thread per device, which makes batches of the newest prepared frames of all sessions."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Protocol

from realtime.company import Batch, choose, is_worth_waiting
from realtime.costs import CostModel
from realtime.lane import Lane, Place
from realtime.prepare import Prepared, cached_by

if TYPE_CHECKING:  # they bring torch with them, and the page is served before that
    from realtime.engine import Engine, Painted
    from realtime.slot import Slot

log = logging.getLogger(__name__)

#: So many failed forwards in a row end a session.
MAX_FAILURES = 5
#: What was left of warming up is done when nobody has been there for so long.
QUIET_SECONDS = 3.0
#: An idle device waits for company at most this part of what a picture takes.
PATIENCE = 0.2
#: So many seconds before a batch should be done the next one is begun: what waits then is as new as can be, and the
#: device finds it uploaded.
LEAD = 0.002
#: Seconds between two looks whether it is done already.
LOOK = 0.001


class Observer(Protocol):
    """Whoever counts what the model does. Called on the inference thread."""

    def forward(self, *, batch: int, model_ms: float) -> None: ...
    def failure(self) -> None: ...


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Flight:
    """``due``: when it should be done, ``time.monotonic()``."""

    slot: Slot
    places: list[Place]
    frames: list[Prepared]
    due: float


class Scheduler:
    """Owns the inference thread: the model is loaded, warmed, prepared and run there and nowhere else.

    A lane has one place, so a frame that waits is displaced by a newer one. Batches start from the lane that was served
    longest ago and take others with the same maps and LoRA along, so many as cost the least; what doesn't fit keeps its
    turn. A device that would idle waits a moment for frames that are due to join. A forward that raises costs its
    frames only: its lanes run alone until each has shown whether it is the cause.
    """

    def __init__(self, load: Callable[[], Engine], *, observer: Observer | None = None) -> None:
        self._load = load
        self._observer = observer
        self._changed = threading.Condition()
        self._places: OrderedDict[Lane, Place] = OrderedDict()  # least recently served first
        self._stopping = False
        self._governed = False  # whoever asked for a governor will want the smaller sizes: better now than in need
        self._flights: deque[_Flight] = deque()
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
        #: The engine, once it is loaded and warm; or what its loading raised.
        self.loaded: Future[Engine] = Future()
        #: What forwards take; known once the engine is.
        self.costs = CostModel((1,))

    def start(self) -> None:
        self._thread.start()

    def close(self, timeout: float = 5.0) -> bool:
        """Stop after the batch in flight. False when that takes over ``timeout`` seconds. May be called twice."""
        with self._changed:
            self._stopping = True
            self._places.clear()
            self._changed.notify_all()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def add(self, lane: Lane) -> None:
        with self._changed:
            self._places[lane] = Place(lane=lane)
            self._changed.notify_all()

    def remove(self, lane: Lane) -> bool:
        """Forget a lane. True when a frame of it was waiting; one in flight still comes back. May be called twice."""
        with self._changed:
            place = self._places.pop(lane, None)
            self._changed.notify_all()
            return place is not None and place.waiting is not None

    def offer(self, lane: Lane, prepared: Prepared) -> bool:
        """Leave a lane's newest frame. True when one was lost by it: the one that waited or, of no known lane, this."""
        with self._changed:
            place = self._places.get(lane)
            if place is None:
                return True
            lost = place.waiting is not None
            place.waiting, place.company = prepared, prepared.company
            place.rhythm.tick(time.monotonic())
            self._changed.notify()
            return lost

    def _run(self) -> None:
        if not self.loaded.set_running_or_notify_cancel():
            return
        try:
            engine = self._load()
        except BaseException as error:  # whatever it was, the main thread has to say it
            self.loaded.set_exception(error)
            return
        self.costs = CostModel(engine.painter.batches, engine.measured)
        self.loaded.set_result(engine)
        while not self._stopping:
            self._step(engine)
        while self._flights:
            self._finish(engine)

    def _step(self, engine: Engine) -> None:
        if not self._flights:
            in_need = self._governed and not engine.is_warm
            if in_need or not self._await_work(engine):
                self._warm_up_more(engine)
        elif len(self._flights) < engine.depth:
            self._await_end(engine, self._flights[-1])
        batch = self._next_batch(engine)
        if batch:
            self._begin(engine, batch)
        if self._flights and (not batch or len(self._flights) >= engine.depth):
            self._finish(engine)

    def _await_work(self, engine: Engine) -> bool:
        """Until a frame waits. False when nobody has been here for a while, and there is something left to do."""
        with self._changed:
            while not (self._stopping or any(place.waiting for place in self._places.values())):
                free = not (self._places or engine.is_warm)
                told = self._changed.wait(QUIET_SECONDS if free else None)
                if free and not told:
                    return False
        return True

    def _await_end(self, engine: Engine, flight: _Flight) -> None:
        """Until a moment before the device is free again, or until it is, should that be sooner than reckoned."""
        with self._changed:
            while not (self._stopping or engine.is_done(flight.slot)):
                left = flight.due - LEAD - time.monotonic()
                if left <= 0:
                    return
                self._changed.wait(min(left, LOOK))

    def _warm_up_more(self, engine: Engine) -> None:
        """What could wait is done while nobody is there, or when it is about to be needed."""
        before = engine.measured.items() - set()
        try:
            engine.warm_up_more()
        except Exception:
            log.exception("Warming up has failed; the first to need it will hear why.")
        for (size, count), ms in engine.measured.items() - before:
            self.costs.add(size, count, ms)

    def _next_batch(self, engine: Engine) -> Batch:
        """May wait a moment while nothing is in flight; empty when no frame waits."""
        with self._changed:
            batch = choose(self._places.values(), engine.max_batch)
            if batch and not self._flights and engine.max_batch > 1 and len(self._places) > 1:
                batch = self._wait_for_company(batch, engine.max_batch)
            if len(batch) > 1:
                batch = batch[: self.costs.first_of(batch[0][1].size, len(batch))]
            for place, _ in batch:
                place.waiting = None
                self._places.move_to_end(place.lane)
            return batch

    def _wait_for_company(self, batch: Batch, max_batch: int) -> Batch:
        """Let others join who are due within a moment, as long as the device has nothing better to do."""
        until = self.costs.pictures(batch[0][1].size, 1)
        deadline = time.monotonic() + PATIENCE * (until or 0.0) / 1e3
        while batch and not self._stopping:
            left = deadline - time.monotonic()
            if left <= 0 or not is_worth_waiting(self._places.values(), batch, self.costs, max_batch, deadline):
                break
            self._changed.wait(left)
            batch = choose(self._places.values(), max_batch)
        return batch

    def _begin(self, engine: Engine, batch: Batch) -> None:
        for place, frame in batch:
            place.lane.taken(frame)
        self._governed = any(frame.settings.latency_target for _, frame in batch)
        batch = [(place, frame) for place, frame in batch if self._prepare(engine, place, frame)]
        if not batch:
            return
        places, frames = [place for place, _ in batch], [frame for _, frame in batch]
        try:
            slot = engine.begin(
                [frame.planes for frame in frames],
                [frame.settings for frame in frames],
                [frame.colours for frame in frames],
            )
        except Exception as error:
            self._fail(places, error)
        else:
            ms = self.costs.forward(frames[0].size, len(frames)) or 0.0
            free = max(time.monotonic(), self._flights[-1].due) if self._flights else time.monotonic()
            self._flights.append(_Flight(slot=slot, places=places, frames=frames, due=free + ms / 1e3))

    def _prepare(self, engine: Engine, place: Place, frame: Prepared) -> bool:
        if place.ready_for == cached_by(frame.settings):
            return True
        try:
            engine.prepare(frame.settings)
        except Exception as error:
            self._fail([place], error)
            return False
        place.ready_for = cached_by(frame.settings)
        return True

    def _finish(self, engine: Engine) -> None:
        flight = self._flights.popleft()
        try:
            painted = engine.finish(flight.slot)
        except Exception as error:
            self._fail(flight.places, error)
        else:
            self._deliver(flight, painted)

    def _deliver(self, flight: _Flight, painted: Painted) -> None:
        self.costs.add(flight.frames[0].size, len(flight.frames), painted.model_ms)
        if self._observer:
            self._observer.forward(batch=len(flight.frames), model_ms=painted.model_ms)
        for place, frame, picture in zip(flight.places, flight.frames, painted.pictures, strict=True):
            place.failures = 0
            place.lane.painted(frame, picture, painted.model_ms)

    def _fail(self, places: list[Place], error: Exception) -> None:
        log.error("A forward for %s failed.", ", ".join(place.lane.name for place in places), exc_info=error)
        if self._observer:
            self._observer.failure()
        for place in places:
            place.failures += 1
            final = place.failures >= MAX_FAILURES
            if final:
                self.remove(place.lane)
            place.lane.failed(error, final=final)
