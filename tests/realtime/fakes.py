"""A model, a camera and a viewer of the true shapes whose pictures carry numbers, so that a wrong one is seen."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.album import Album
from pipelines.condition import Conditioner, ConditionMap
from pipelines.frame_graph import Form
from pipelines.presets import Control, Preset, Style
from pipelines.settings import KINDS, Kind, Settings
from realtime.model import Model, wrap
from streaming.frame import Frame

SIZE = (8, 16)


def numbered(number: int, *, size: tuple[int, int] = SIZE, seq: int | None = None) -> Frame:
    """A camera picture that is ``number`` all over."""
    image = np.full((*size, 3), number % 256, np.uint8)
    seq = number if seq is None else seq
    return Frame(image=image, seq=seq, pts=3000 * seq)


class FlatConditioner:
    """Its map is one channel of the picture, so the number survives. Needs no state, so it is its own drawer."""

    def __init__(self, kind: Kind = "canny", *, channel: int = 0) -> None:
        self.kind = kind
        self._channel = channel

    def is_slow(self, settings: Settings) -> bool:
        return False

    def drawer(self) -> FlatConditioner:
        return self

    def warm_up(self, size: tuple[int, int], settings: Settings) -> None:
        pass

    def __call__(self, image: NDArray[np.uint8], settings: Settings) -> ConditionMap:
        return ConditionMap(map=np.ascontiguousarray(image[:, :, self._channel]), kind=self.kind)


class NumberPainter:
    """A pipeline whose pictures are (the first map's value, the seed, scale × 100), after ``seconds`` of work.

    A mapping says how long each of its batch sizes takes; a batch between two of them takes as long as the larger one.
    Text alone is 0 in the first place. ``spoil`` may raise for a batch. Every batch's seeds are kept in ``forwards``,
    its settings in ``painted``, its maps' size in ``painted_sizes``, and its colours, if it had any, in ``colours``.
    """

    name = "numbers"
    backend_name = "fake"
    dtype = torch.float32
    forms: Sequence[Form] = ("rgb",)
    album: Album | None = None

    def __init__(
        self,
        *,
        seconds: float | Mapping[int, float] = 0.0,
        size: tuple[int, int] = SIZE,
        smaller: Sequence[tuple[int, int]] = (),
        batches: Sequence[int] = (1,),
        controls: Sequence[Kind] = ("canny",),
        loras: Sequence[str] = (),
        spoil: Callable[[Sequence[Settings]], None] = lambda settings: None,
    ) -> None:
        self.size = size
        self.sizes = (size, *smaller)
        self.batches = tuple(seconds) if isinstance(seconds, Mapping) else tuple(batches)
        self.device = torch.device("cpu")
        self.controls = tuple(controls)
        self.loras = tuple(loras)
        self.preset = Preset(
            name=self.name,
            size=size,
            controls=tuple(Control(kind=kind) for kind in controls),
            styles=(Style(name="Ink", prompt="ink"),),
            defaults=Settings(prompt="ink", steadiness=0.0),  # a blend of two numbers is none
        )
        self.seconds = seconds
        self.spoil = spoil
        self.forwards: list[list[int]] = []
        self.painted: list[list[Settings]] = []
        self.painted_sizes: list[tuple[int, int]] = []
        self.colours: list[NDArray[np.uint8] | None] = []
        self.prepared: list[Settings] = []
        self.threads: set[str] = set()

    def prepare(self, settings: Settings) -> None:
        self.threads.add(threading.current_thread().name)
        self.prepared.append(settings)

    def paint_uint8(
        self,
        maps: torch.Tensor,
        settings: Sequence[Settings],
        colours: torch.Tensor | None = None,
        *,
        form: Form = "rgb",
    ) -> torch.Tensor:
        assert form in self.forms
        self.threads.add(threading.current_thread().name)
        size = (maps.shape[2], maps.shape[3])
        assert maps.shape[:2] == (len(settings), len(settings[0].kinds))
        assert size in self.sizes
        assert len({(each.kinds, each.lora, each.lora_scale) for each in settings}) == 1
        self.forwards.append([each.seed for each in settings])
        self.painted.append(list(settings))
        self.painted_sizes.append(size)
        self.colours.append(None if colours is None else colours.numpy().copy())
        self.spoil(settings)
        self._work(len(settings), size)
        first = maps[:, 0] if maps.shape[1] else torch.zeros(len(settings), *self.size, dtype=torch.uint8)
        if size != self.size:
            first = torch.nn.functional.interpolate(first[:, None], self.size)[:, 0]  # the nearest value
        columns = [
            first,
            torch.tensor([each.seed % 256 for each in settings]).view(-1, 1, 1).expand_as(first),
            torch.tensor([round(each.conditioning_scale * 100) for each in settings]).view(-1, 1, 1).expand_as(first),
        ]
        return torch.stack([column.to(torch.uint8) for column in columns], dim=-1)

    def _work(self, count: int, size: tuple[int, int]) -> None:
        seconds = self.seconds
        if isinstance(seconds, Mapping):
            seconds = min(cost for batch, cost in seconds.items() if batch >= count)
        time.sleep(seconds * size[0] * size[1] / (self.size[0] * self.size[1]))  # smaller maps are less work


def model_of(painter: Any) -> Model:
    return wrap(painter, flat_conditioners())


def flat_conditioners() -> dict[Kind, Conditioner]:
    """One for each kind: canny the first channel, sketch the second, depth the third."""
    return {kind: FlatConditioner(kind, channel=channel) for channel, kind in enumerate(KINDS)}


class Viewer:
    """Subscriber and listener of one session."""

    def __init__(self, session: Any) -> None:
        self.frames: list[Frame] = []
        self.ages_ms: list[float] = []
        self.events: list[dict[str, Any]] = []
        self._changed = asyncio.Event()
        self.leave = session.subscribe(self._deliver)
        self.stop_listening = session.listen(self._tell)

    def _deliver(self, frame: Frame) -> None:
        self.frames.append(frame)
        self.ages_ms.append((time.monotonic_ns() - frame.captured_ns) / 1e6)
        self._changed.set()

    def _tell(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        self._changed.set()

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == kind]

    async def until(self, met: Callable[[Viewer], object], *, timeout: float = 10.0) -> None:
        """Wait for a frame or event that makes ``met`` true."""
        deadline = time.monotonic() + timeout
        while not met(self):
            self._changed.clear()
            await asyncio.wait_for(self._changed.wait(), deadline - time.monotonic())


async def until(met: Callable[[], object], *, timeout: float = 10.0) -> None:
    """Poll for something that has no event."""
    deadline = time.monotonic() + timeout
    while not met():
        if time.monotonic() > deadline:
            raise AssertionError("It didn't happen in time.")
        await asyncio.sleep(0.005)


class Camera:
    """Pushes numbered pictures to a session at a steady rate from a thread of its own.

    ``shows``: the number of the n-th picture, if it isn't n.
    """

    def __init__(
        self,
        session: Any,
        *,
        fps: float = 30.0,
        size: tuple[int, int] = SIZE,
        shows: Callable[[int], int] = lambda count: count,
    ) -> None:
        self.sent = 0
        self._shows = shows
        self._session = session
        self._period = 1 / fps
        self._size = size
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fake camera", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(self._period):
            self._session.push(numbered(self._shows(self.sent), size=self._size, seq=self.sent))
            self.sent += 1

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def __enter__(self) -> Camera:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
