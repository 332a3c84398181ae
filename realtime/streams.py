"""Three queues of device work (upload, compute, download) and the events between them: CUDA's, or none at all."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

import torch


class Event(Protocol):
    """A point in a stream. ``torch.cuda.Event`` is one."""

    def record(self) -> Any:
        """Mark the point, behind all work that was given to the current stream so far."""

    def query(self) -> bool:
        """Whether the device has passed the point."""

    def synchronize(self) -> Any:
        """The host waits until the device has passed the point."""

    def elapsed_time(self, end_event: Any) -> float:
        """Milliseconds from this point to that one; the device has passed both."""


class Stream(Protocol):
    def submit(self, work: Callable[[], object], *, done: Event, after: Event | None = None) -> None:
        """Give the device ``work`` to run behind ``after``, and record ``done`` behind it. Doesn't wait for it."""


class Streams(Protocol):
    """What the engine needs of a device."""

    @property
    def upload(self) -> Stream: ...
    @property
    def compute(self) -> Stream: ...
    @property
    def download(self) -> Stream: ...

    @property
    def depth(self) -> int:
        """How many batches are worth having in flight: 2 where work runs beside the host, 1 where it runs on it."""

    def event(self) -> Event: ...


class NullEvent:
    """The event of a device that is done when the call returns: only its time is kept."""

    def __init__(self) -> None:
        self._nanoseconds = 0

    def record(self) -> None:
        self._nanoseconds = time.perf_counter_ns()

    def query(self) -> bool:
        return True

    def synchronize(self) -> None:
        """Nothing is left to wait for."""

    def elapsed_time(self, end_event: NullEvent) -> float:
        return (end_event._nanoseconds - self._nanoseconds) / 1e6


class NullStream:
    """Runs the work at once, on the caller's thread."""

    def submit(self, work: Callable[[], object], *, done: Event, after: Event | None = None) -> None:
        work()
        done.record()


class NullStreams:
    """A CPU."""

    depth = 1

    def __init__(self) -> None:
        self.upload: Stream = NullStream()
        self.compute: Stream = NullStream()
        self.download: Stream = NullStream()

    def event(self) -> Event:
        return NullEvent()


class CudaStream:
    def __init__(self, device: torch.device, *, priority: int = 0) -> None:
        self._stream = torch.cuda.Stream(device, priority=priority)
        # Weights and buffers are made on the default stream, which these streams don't wait for by themselves.
        self._stream.wait_stream(torch.cuda.default_stream(device))

    def submit(self, work: Callable[[], object], *, done: Event, after: Event | None = None) -> None:
        with torch.cuda.stream(self._stream):
            if isinstance(after, torch.cuda.Event):
                self._stream.wait_event(after)
            work()
            done.record()


class CudaStreams:
    """One CUDA device."""

    depth = 2

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.upload: Stream = CudaStream(device)
        # Ahead of the networks that draw maps beside the frames (realtime.side_stream).
        self.compute: Stream = CudaStream(device, priority=-1)
        self.download: Stream = CudaStream(device)

    def event(self) -> Event:
        # A blocking event lets the waiting thread sleep: a spinning one would hold a core that video codecs need.
        with torch.cuda.device(self._device):
            return torch.cuda.Event(enable_timing=True, blocking=True)


def streams_for(device: torch.device) -> Streams:
    return CudaStreams(device) if device.type == "cuda" else NullStreams()
