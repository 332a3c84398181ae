"""What is asked of CUDA to record a graph, in which order. That it then does it, test_compiled_gpu shows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from pipelines.backends.replay import CudaGraphs, PlainRecorder

DEVICE = torch.device("cuda", 1)


class Cuda:
    """Stands in for ``torch.cuda``; writes down what happens."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.current = Stream(self, "compute")

    def Stream(self, device: torch.device) -> Stream:
        assert device == DEVICE
        return Stream(self, "aside")

    def current_stream(self, device: torch.device) -> Stream:
        assert device == DEVICE
        return self.current

    def graph_pool_handle(self) -> str:
        return "the pool"

    @contextlib.contextmanager
    def stream(self, stream: Stream) -> Iterator[None]:
        before, self.current = self.current, stream
        yield
        self.current = before

    @contextlib.contextmanager
    def device(self, device: torch.device) -> Iterator[None]:
        assert device == DEVICE
        yield

    def CUDAGraph(self) -> Any:
        return type("Graph", (), {"replay": lambda _: self.log.append(f"replay on {self.current.name}")})()

    @contextlib.contextmanager
    def graph(self, graph: Any, *, pool: str, stream: Stream, capture_error_mode: str) -> Iterator[None]:
        self.log.append(f"capture into {pool}, {capture_error_mode}")
        with self.stream(stream):
            yield


class Stream:
    def __init__(self, cuda: Cuda, name: str) -> None:
        self.cuda, self.name = cuda, name

    def wait_stream(self, other: Stream) -> None:
        self.cuda.log.append(f"{self.name} waits for {other.name}")


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Cuda:
    stands_in = Cuda()
    for name in ("Stream", "current_stream", "graph_pool_handle", "stream", "device", "CUDAGraph", "graph"):
        monkeypatch.setattr(torch.cuda, name, getattr(stands_in, name))
    return stands_in


def test_a_graph_is_captured_aside_after_a_warm_up_and_runs_where_it_is_called(cuda: Cuda) -> None:
    tuned = torch.backends.cudnn.benchmark

    def work() -> None:
        assert torch.backends.cudnn.benchmark
        cuda.log.append(f"work on {cuda.current.name}")

    replay = CudaGraphs(DEVICE).record(work)
    assert cuda.log == [
        "aside waits for compute",
        "work on aside",
        "work on aside",
        "compute waits for aside",
        "capture into the pool, thread_local",
        "work on aside",
    ]
    cuda.log.clear()
    replay()
    replay()
    assert cuda.log == ["replay on compute"] * 2
    assert torch.backends.cudnn.benchmark == tuned


def test_work_that_fails_leaves_everything_as_it_was(cuda: Cuda) -> None:
    tuned = torch.backends.cudnn.benchmark
    with pytest.raises(ZeroDivisionError):
        CudaGraphs(DEVICE).record(lambda: 1 / 0)
    assert torch.backends.cudnn.benchmark == tuned


def test_elsewhere_work_is_called() -> None:
    calls: list[int] = []
    recorder = PlainRecorder()
    recorder.warm(lambda: calls.append(1))
    replay = recorder.record(lambda: calls.append(2))
    assert calls == [1]
    replay()
    replay()
    assert calls == [1, 2, 2]
