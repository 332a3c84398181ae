"""Maps that take longer than a frame: drawn by one worker thread, while frames go on with the last one."""

from __future__ import annotations

import dataclasses
import threading
from collections import OrderedDict

import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.condition import Drawer
from pipelines.settings import Settings
from realtime.errors import Failure
from realtime.side_stream import SideStream

#: A stream's first map is waited for so long: networks are loaded, and perhaps fetched, meanwhile.
FIRST_MAP_SECONDS = 60.0


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Picture:
    """uint8 H×W×3 to be drawn, with the settings and the ``captured_ns`` of its frame."""

    image: NDArray[np.uint8]
    settings: Settings
    captured_ns: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SlowMap:
    """A drawn map, uint8 H×W, and the ``captured_ns`` of the frame that it was drawn from."""

    map: NDArray[np.uint8]
    captured_ns: int


class Lane:
    """One stream of pictures and the network that draws them. What it holds is the desk's to read and write."""

    def __init__(self, drawer: Drawer) -> None:
        self.drawer = drawer
        self.waiting: Picture | None = None
        self.latest: SlowMap | None = None
        self.error: Exception | None = None
        self._since_due: int | None = None

    def is_due(self, every: int) -> bool:
        """Whether it is this frame's turn to be drawn: the first one's, and every ``every``-th one's from there."""
        passed = every if self._since_due is None else self._since_due + 1
        due = passed >= every
        self._since_due = 0 if due else passed
        return due

    def finish(self, result: SlowMap | Exception) -> None:
        """After an error nothing is left to go on with: the next frame is a first one again."""
        if isinstance(result, Exception):
            self.latest, self.error, self._since_due = None, result, None
        else:
            self.latest = result


class SlowMaps:
    """Draws for all lanes, one picture at a time: networks are never run by two threads at once.

    Each lane has one place, so a picture that waits is displaced by a newer one. The lane that was served longest ago
    comes first. With ``in_line`` there is no thread: the picture is drawn while its caller asks.
    """

    def __init__(self, device: torch.device, *, in_line: bool = False) -> None:
        self._in_line = in_line
        self._stream = SideStream(device)
        self._drawing = threading.Lock()
        self._changed = threading.Condition()
        self._lanes: OrderedDict[Lane, None] = OrderedDict()  # least recently served first
        self._thread: threading.Thread | None = None
        self._closed = False
        #: How many pictures were displaced by a newer one before they were drawn.
        self.displaced = 0

    def open(self, drawer: Drawer) -> Lane:
        """A place for one more stream. Raises Failure after ``close``."""
        lane = Lane(drawer)
        with self._changed:
            if self._closed:
                raise Failure("No more maps are drawn: the server is stopping.")
            self._lanes[lane] = None
        return lane

    def leave(self, lane: Lane) -> None:
        """Forget a lane; a map of it that is just being drawn is dropped. May be called twice."""
        with self._changed:
            self._lanes.pop(lane, None)
            self._changed.notify_all()

    def ask(self, lane: Lane, picture: Picture, every: int) -> None:
        """Have the picture drawn if it is its turn, or if it can take the place of one that waits still."""
        with self._changed:
            if lane.error or lane not in self._lanes:  # ``latest`` says so
                return
            if not lane.is_due(every) and lane.waiting is None:
                return
            if not self._in_line:
                self.displaced += lane.waiting is not None
                lane.waiting = picture
                self._start()
                self._changed.notify_all()
                return
        result = self._draw(lane, picture)
        with self._changed:
            lane.finish(result)

    def latest(self, lane: Lane) -> SlowMap:
        """The last map. A lane's first one is waited for, no other.

        Raises what drawing raised, once, and Failure when the first map takes too long or nobody draws any more.
        """
        with self._changed:
            self._changed.wait_for(lambda: lane.latest or lane.error or lane not in self._lanes, FIRST_MAP_SECONDS)
            error, lane.error = lane.error, None
            if error:
                raise error
            if lane not in self._lanes:
                raise Failure("No more maps are drawn for this stream: it has ended.")
            if lane.latest is None:
                raise Failure(f"The first map has not come within {FIRST_MAP_SECONDS:.0f} s; try again.")
            return lane.latest

    def close(self, timeout: float = 5.0) -> bool:
        """Draw no more. False when the thread is still at its last map after that. May be called twice."""
        with self._changed:
            self._closed = True
            self._lanes.clear()
            self._changed.notify_all()
            thread = self._thread
        if thread and thread is not threading.current_thread():
            thread.join(timeout)
        return thread is None or not thread.is_alive()

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="maps", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while (job := self._next()) is not None:
            lane, picture = job
            result = self._draw(lane, picture)
            with self._changed:
                lane.finish(result)
                self._changed.notify_all()

    def _next(self) -> tuple[Lane, Picture] | None:
        """Wait for a picture. None after ``close``."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or any(lane.waiting for lane in self._lanes))
            for lane in self._lanes:
                if lane.waiting:
                    picture, lane.waiting = lane.waiting, None
                    self._lanes.move_to_end(lane)
                    return lane, picture
            return None

    def _draw(self, lane: Lane, picture: Picture) -> SlowMap | Exception:
        try:
            with self._drawing:
                drawn = self._stream.run(lambda: lane.drawer(picture.image, picture.settings))
        except Exception as error:
            return error
        return SlowMap(map=drawn.map, captured_ns=picture.captured_ns)
