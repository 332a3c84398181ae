"""The condition maps of all sessions: quick ones drawn in line with their frame, slow ones beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.condition import Conditioner, Drawer
from pipelines.settings import Kind, Settings
from realtime.errors import BadInput, Failure
from realtime.fit import shrink
from realtime.slow_maps import Lane, Picture, SlowMaps

#: What one lane is about: the network's name, and the shape of the pictures.
_Subject = tuple[str, tuple[int, ...]]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Maps:
    """``planes``: uint8 K×H×W, contiguous, in the order of ``settings.kinds``; K is 0 for a picture without control.

    ``age_ms``: how much older than its frame the oldest slow map is; None where no slow kind is used.
    """

    planes: NDArray[np.uint8]
    age_ms: float | None = None


class MapDesk:
    """What all keepers of a model share: the conditioners, and the one thread that runs their networks.

    ``wait``: for files. Every n-th picture of a slow kind is drawn while its caller waits, so that the same file always
    gives the same maps.
    """

    def __init__(self, conditioners: Mapping[Kind, Conditioner], *, device: torch.device, wait: bool = False) -> None:
        self._conditioners = dict(conditioners)
        self._slow = SlowMaps(device, in_line=wait)
        # Threads are made as they are needed, and a waiting one costs next to nothing.
        self._waiting_room = None if wait else ThreadPoolExecutor(64, thread_name_prefix="first map")

    @property
    def displaced(self) -> int:
        """How many pictures were due for a slow map and gave way to a newer one, because the network was busy."""
        return self._slow.displaced

    def keeper(self) -> MapKeeper:
        """For one more stream of pictures."""
        return MapKeeper(self._conditioners, self._slow, self._waiting_room)

    def close(self, timeout: float = 5.0) -> bool:
        """End the thread and wake all who wait for a map. May be called twice.

        False when a network is still at its last map after ``timeout`` seconds; the thread ends behind it.
        """
        if self._waiting_room:
            self._waiting_room.shutdown(wait=False, cancel_futures=True)
        return self._slow.close(timeout)


class MapKeeper:
    """Draws and keeps the maps of one stream: called for one picture at a time, in order, from any thread."""

    def __init__(self, conditioners: Mapping[Kind, Conditioner], slow: SlowMaps, waiting_room: Executor | None) -> None:
        self._conditioners = conditioners
        self._slow = slow
        self._waiting_room = waiting_room
        self._drawers: dict[Kind, Drawer] = {}
        self._lanes: dict[Kind, tuple[_Subject, Lane]] = {}
        self._closed = False

    def __call__(
        self, image: NDArray[np.uint8], settings: Settings, captured_ns: int, *, small: NDArray[np.uint8] | None = None
    ) -> Maps:
        """The maps of uint8 H×W×3 ``image``, captured at ``captured_ns``.

        ``small``: the same picture at the smaller size that the maps shall have. A network is shown the large one all
        the same, as what it has drawn stays of use when the size changes.

        Waits for the first map of a slow kind, at most a minute: see ``waiting_room``. Raises BadInput for a kind that
        the model has no conditioner for, Failure when the first map doesn't come, and what drawing raises.
        """
        if self._closed:
            raise Failure("No more maps are drawn for this stream: it has ended.")
        slow = [kind for kind in settings.kinds if self._conditioner(kind).is_slow(settings)]
        self._leave([kind for kind in list(self._lanes) if kind not in slow])
        lanes = {kind: self._lane(kind, settings, image) for kind in slow}
        picture = Picture(image=image, settings=settings, captured_ns=captured_ns)
        for lane in lanes.values():  # before the quick ones, which are drawn while the worker begins
            self._slow.ask(lane, picture, settings.depth_every)
        seen = image if small is None else small
        size = (seen.shape[0], seen.shape[1])
        drawn = {kind: self._draw(kind, seen, settings) for kind in settings.kinds if kind not in lanes}
        latest = {kind: self._slow.latest(lane) for kind, lane in lanes.items()}
        drawn |= {kind: shrink(each.map, size) for kind, each in latest.items()}
        planes = [drawn[kind] for kind in settings.kinds]
        return Maps(
            planes=np.stack(planes) if planes else np.empty((0, *size), np.uint8),
            age_ms=max(((captured_ns - each.captured_ns) / 1e6 for each in latest.values()), default=None),
        )

    def has_slow_maps(self, settings: Settings) -> bool:
        """Whether a network draws one of the maps that ``settings`` ask for."""
        return any(kind in self._conditioners and self._conditioners[kind].is_slow(settings) for kind in settings.kinds)

    def waiting_room(self, settings: Settings) -> Executor | None:
        """Where to call this keeper when a call with ``settings`` would wait for a first map; None when it wouldn't.

        A shared pool has few threads, and one that waits there for one session's network keeps all others waiting.
        """
        return self._waiting_room if any(self._must_wait(kind, settings) for kind in settings.kinds) else None

    def close(self) -> None:
        """Let go of what this stream needed; who waits in it gets Failure. May be called twice."""
        self._closed = True
        self._leave(list(self._lanes))

    def _conditioner(self, kind: Kind) -> Conditioner:
        try:
            return self._conditioners[kind]
        except KeyError:
            has = ", ".join(self._conditioners) or "none"
            raise BadInput(f"This model has no control {kind!r}; it has {has}.") from None

    def _draw(self, kind: Kind, image: NDArray[np.uint8], settings: Settings) -> NDArray[np.uint8]:
        if kind not in self._drawers:
            self._drawers[kind] = self._conditioner(kind).drawer()
        return self._drawers[kind](image, settings).map

    def _lane(self, kind: Kind, settings: Settings, image: NDArray[np.uint8]) -> Lane:
        """The kind's lane; a new one when another network is asked for or the size has changed."""
        subject = (_network(kind, settings), image.shape)
        known = self._lanes.get(kind)
        if known and known[0] == subject:
            return known[1]
        self._leave([kind])
        lane = self._slow.open(self._conditioner(kind).drawer())
        self._lanes[kind] = subject, lane
        return lane

    def _leave(self, kinds: Iterable[Kind]) -> None:
        """A map from before a pause is worth nothing after it."""
        for kind in kinds:
            known = self._lanes.pop(kind, None)  # ``close`` may come from another thread
            if known:
                self._slow.leave(known[1])

    def _must_wait(self, kind: Kind, settings: Settings) -> bool:
        conditioner = self._conditioners.get(kind)
        if conditioner is None or not conditioner.is_slow(settings):
            return False
        known = self._lanes.get(kind)
        return known is None or known[0][0] != _network(kind, settings) or known[1].latest is None


def _network(kind: Kind, settings: Settings) -> str:
    """What draws a slow kind."""
    return settings.depth_estimator if kind == "depth" else settings.sketch_detector
