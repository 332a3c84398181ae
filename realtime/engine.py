"""Engine: keeps a device busy. Upload N+1 | compute N | download N−1 on three streams, over two slots."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.frame_graph import Form
from realtime import warm_up
from realtime.slot import Slot
from realtime.streams import Streams, streams_for
from realtime.warm_up import WarmUp

SLOTS = 2


class Painter(Protocol):
    """What the engine asks of a pipeline; ``pipelines.SDXSPipeline`` is one. All calls come from one thread."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of its pictures."""

    @property
    def sizes(self) -> Sequence[tuple[int, int]]:
        """The (height, width) that it paints without a delay, its own first and the others smaller.

        Maps of any of them may come; the pictures always have ``size``.
        """

    @property
    def batches(self) -> Sequence[int]:
        """The batch sizes that it is built for, rising; one between two of them costs as much as the larger."""

    @property
    def forms(self) -> Sequence[Form]:
        """What it can give its pictures as: always ``rgb``, perhaps ``yuv``."""

    @property
    def device(self) -> torch.device: ...

    @property
    def controls(self) -> Sequence[str]:
        """The kinds of maps that it has a ControlNet for."""

    def prepare(self, settings: Any) -> object:
        """Fill the caches (prompts, noises, style) that a picture with these settings needs."""

    def paint_uint8(
        self,
        maps: torch.Tensor,
        settings: Sequence[Any],
        colours: torch.Tensor | None = None,
        *,
        form: Form = "rgb",
    ) -> torch.Tensor:
        """uint8 B×K×h×w condition maps on the device, of one of ``sizes``, to uint8 pictures of ``size`` there.

        The maps are in the order of ``settings[i].kinds``, which is the same for the batch, as are LoRA and its scale.
        ``colours``: uint8 B×h/4×w/4×3 on the device, the camera pictures made small; None when no picture keeps any.
        ``form``: B×H×W×3 or the planes of I420, B×(3H/2)×W (``pipelines.frame_graph.Form``). The next call but one
        may write over what it returns.
        """


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Painted:
    """What one forward gave: pictures in the engine's form, in the order of the batch, and the ms for all of them."""

    pictures: list[NDArray[np.uint8]]
    model_ms: float


class Engine:
    """Paints batches of up to ``max_batch`` pictures, uint8 H×W×3 or, as ``yuv``, the planes that an encoder takes.

    All methods are called from the one inference thread. ``begin`` and ``finish`` take turns: at most two batches are
    in flight, finished in the order they began.
    """

    def __init__(
        self, painter: Painter, *, max_batch: int = 1, form: Form = "rgb", streams: Streams | None = None
    ) -> None:
        self.painter = painter
        self.max_batch = max_batch
        self.form: Form = form
        #: Milliseconds of a forward by its maps' (height, width) and its batch size, of the dearest settings seen.
        self.measured: dict[tuple[tuple[int, int], int], float] = {}
        self._streams = streams or streams_for(painter.device)
        self._slots = [
            Slot(
                capacity=max_batch,
                planes=max(1, len(painter.controls)),
                sizes=painter.sizes,
                form=form,
                device=painter.device,
                streams=self._streams,
            )
            for _ in range(SLOTS)
        ]
        self._turn = 0
        self._left: deque[WarmUp] = deque()
        self._prepared = self._streams.event()

    @property
    def depth(self) -> int:
        """How many batches are worth having in flight on this device (1 or 2)."""
        return self._streams.depth

    @torch.inference_mode()
    def prepare(self, settings: Any) -> None:
        """Let the pipeline fill its caches, on the stream that will read them. Raises what the pipeline raises."""
        self._streams.compute.submit(lambda: self.painter.prepare(settings), done=self._prepared)

    @torch.inference_mode()
    def begin(
        self,
        planes: Sequence[NDArray[np.uint8]],
        settings: Sequence[Any],
        colours: Sequence[NDArray[np.uint8] | None] | None = None,
    ) -> Slot:
        """Enqueue uint8 K×h×w condition maps with one Settings each; doesn't wait for the device.

        ``colours``: of each picture uint8 h/4×w/4×3, or None where its ``init_strength`` is 0. Raises ValueError for a
        batch of a wrong length or maps that don't fit together, RuntimeError while both slots are in flight, and what
        the pipeline raises; then nothing of this batch is left in flight.
        """
        slot, count = self._slots[self._turn], len(planes)
        if not 0 < count <= self.max_batch or len(settings) != count:
            raise ValueError(f"{count} maps with {len(settings)} settings don't make a batch of 1 to {self.max_batch}.")
        if slot.count:
            raise RuntimeError("Both slots are in flight; finish the older batch first.")
        slot.fill(planes, colours or [None] * count)
        try:
            self._enqueue(slot, count, settings)
        except BaseException:
            self._drain(slot)
            raise
        slot.count = count
        self._turn = (self._turn + 1) % SLOTS
        return slot

    def is_done(self, slot: Slot) -> bool:
        """Whether ``finish`` wouldn't wait."""
        return slot.downloaded.query()

    def finish(self, slot: Slot) -> Painted:
        """Wait for this slot's pictures alone, copy them out and free the slot. Raises what the device reports."""
        try:
            slot.downloaded.synchronize()
            return Painted(pictures=slot.pictures(), model_ms=slot.started.elapsed_time(slot.computed))
        finally:
            slot.count = 0

    def warm_up(self, *settings: Any, tell: Callable[[WarmUp], object] | None = None, later: bool = False) -> None:
        """Paint blank maps with each of ``settings`` at every size and batch size that the painter is built for.

        ``tell`` hears of each step. ``later``: all but the first of the settings and the first size are left to
        ``warm_up_more``. What the forwards take is in ``measured`` afterwards.
        """
        batches = [batch for batch in self.painter.batches if batch <= self.max_batch]
        steps = warm_up.steps(settings, sizes=self.painter.sizes, batches=batches)
        now = warm_up.steps(settings[:1], sizes=self.painter.sizes[:1], batches=batches) if later else steps
        for step in now:
            if tell:
                tell(step)
            self._warm(step)
        done = [(step.settings, step.size) for step in now]
        self._left.extend(step for step in steps if (step.settings, step.size) not in done)

    @property
    def is_warm(self) -> bool:
        """Whether nothing is left to ``warm_up_more``."""
        return not self._left

    def warm_up_more(self) -> None:
        """One step of what was left for a moment without other work, if there is any."""
        if self._left:
            self._warm(self._left.popleft())

    def _warm(self, step: WarmUp) -> None:
        self.prepare(step.settings)
        blank = np.zeros((len(step.settings.kinds), *step.size), np.uint8)
        for _ in range(2):  # the first time is what nobody shall wait for, the second is the usual one
            ms = self.finish(self.begin([blank] * step.batch, [step.settings] * step.batch)).model_ms
        key = step.size, step.batch
        self.measured[key] = max(ms, self.measured.get(key, 0.0))

    def _enqueue(self, slot: Slot, count: int, settings: Sequence[Any]) -> None:
        def compute() -> None:
            slot.started.record()
            slot.keep(self.painter.paint_uint8(slot.maps, settings, colours=slot.colours, form=self.form))

        self._streams.upload.submit(slot.upload, done=slot.uploaded)
        self._streams.compute.submit(compute, done=slot.computed, after=slot.uploaded)
        self._streams.download.submit(lambda: slot.download(count), done=slot.downloaded, after=slot.computed)

    def _drain(self, slot: Slot) -> None:
        """After a failed begin: what still reads or writes the slot's buffers ends before they are used again."""
        self._streams.compute.submit(lambda: None, done=slot.computed, after=slot.uploaded)
        self._streams.download.submit(lambda: None, done=slot.downloaded, after=slot.computed)
        slot.downloaded.synchronize()
