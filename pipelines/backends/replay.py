"""Recording work once and running it again: as a CUDA graph on a GPU, as it is anywhere else."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol

import torch

Work = Callable[[], object]


class Recorder(Protocol):
    """``work`` reads and writes buffers that stay where they are, and allocates nothing that outlives it."""

    def warm(self, work: Work) -> None:
        """Run it aside, so that whatever it does at its first time only (compiling, choosing kernels) is done."""

    def record(self, work: Work) -> Work:
        """What runs it again on the stream that is current then. Slow; the device has done nothing else meanwhile."""


class PlainRecorder:
    """Any device: running again is calling again."""

    def warm(self, work: Work) -> None:
        work()

    def record(self, work: Work) -> Work:
        return work


class CudaGraphs:
    """One CUDA device. All graphs share one memory pool, as they run one after the other and leave nothing in it.

    https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
    """

    #: The second run finds every kernel chosen, and every workspace and buffer of the libraries in its place.
    RUNS = 2

    def __init__(self, device: torch.device) -> None:
        self._device = device
        # Nothing can be captured on the default stream. It is the same one for all, whose library workspaces are made
        # by the warm-up and stay.
        self._stream = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()

    def warm(self, work: Work) -> None:
        """On the capturing stream, between what was enqueued before and what comes after."""
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream), _tuned():
            for _ in range(self.RUNS):
                work()
        current.wait_stream(self._stream)

    def record(self, work: Work) -> Work:
        self.warm(work)
        graph = torch.cuda.CUDAGraph()
        # Other threads use the device meanwhile, for the networks that draw maps. What they do (allocate, ask for
        # events) is no part of this capture and can't harm it; in the mode "global" it would fail, or they would.
        with (
            torch.cuda.device(self._device),
            torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"),
            _tuned(),
        ):
            work()
        return graph.replay


@contextlib.contextmanager
def _tuned() -> Iterator[None]:
    """cuDNN measures its algorithms at the warm-up; the capture finds them chosen."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
