"""How long work takes: by CUDA events on a GPU, by the clock elsewhere; and how much memory a process has taken."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import torch

Work = Callable[[], object]
#: Seconds that one kind of work is repeated for, and how often at least and at most.
SECONDS, AT_LEAST, AT_MOST = 0.5, 3, 200


def milliseconds(work: Work, device: torch.device, *, seconds: float = SECONDS) -> list[float]:
    """Of each repetition of ``work``, after a warm-up."""
    if device.type == "cuda":
        return _by_events(work, seconds)
    work()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < AT_LEAST or (time.perf_counter() < end and len(times) < AT_MOST):
        start = time.perf_counter()
        work()
        times.append((time.perf_counter() - start) * 1000)
    return times


def _by_events(work: Work, seconds: float) -> list[float]:
    """All repetitions are enqueued at once, so that the device, not the host, sets the pace where it can."""
    for _ in range(AT_LEAST):
        work()
    once = _spans(work, AT_LEAST)
    count = int(seconds * 1000 / max(sum(once) / len(once), 1e-3))
    return _spans(work, min(max(count, AT_LEAST), AT_MOST))


def _spans(work: Work, count: int) -> list[float]:
    events = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(count)]
    for begin, end in events:
        begin.record()
        work()
        end.record()
    torch.cuda.synchronize()
    return [begin.elapsed_time(end) for begin, end in events]


def as_graph(work: Work, device: torch.device) -> tuple[Work, str]:
    """``work`` as one CUDA graph, as the frame path runs it, and what it was made into; on a CPU it stays as it is.

    Work that can't be captured stays as it is too, and says so.
    """
    if device.type != "cuda":
        return work, "eager"
    try:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(AT_LEAST):
                work()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            work()
    except RuntimeError:
        torch.cuda.synchronize()
        return work, "eager, not captured"
    return graph.replay, "CUDA graph"


def matrix_rate(device: torch.device, dtype: torch.dtype, *, repeats: int = 7) -> float:
    """FLOP/s of a large product of random matrices in this precision: the device's own ceiling, measured.

    On a CPU the better of two libraries: a matrix product and a 1×1 convolution may be run by different ones there.
    """
    side = 8192 if device.type == "cuda" else 2048
    left, right = (torch.randn(side, side, device=device, dtype=torch.float32).to(dtype) for _ in range(2))
    out = torch.empty_like(left)
    works: list[Work] = [lambda: torch.mm(left, right, out=out)]
    if device.type == "cpu":
        rows = right.view(1, side, 32, -1).to(memory_format=torch.channels_last)
        works.append(lambda: torch.nn.functional.conv2d(rows, left[:, :, None, None]))
    return max(2 * side**3 / (_middle_of_medians(work, device, repeats) / 1000) for work in works)


def _middle_of_medians(work: Work, device: torch.device, repeats: int) -> float:
    return statistics.median(statistics.median(milliseconds(work, device, seconds=0.2)) for _ in range(repeats))


def peak_memory(device: torch.device) -> int:
    """Bytes: what torch has had allocated on the GPU at most; on a CPU the process's largest resident size."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return peak_resident()


def peak_resident(pid: int | None = None) -> int:
    """Bytes of the largest resident size that a process has had since it began; of this one if none is named."""
    try:  # getrusage would count what a process inherited from the one that started it
        status = Path(f"/proc/{pid or 'self'}/status").read_text(encoding="utf-8")
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) * 1024
    except (OSError, StopIteration):
        memory = psutil.Process(pid).memory_info()
        return int(getattr(memory, "peak_wset", memory.rss))
