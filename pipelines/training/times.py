"""What a run took: wall time by machine and phase, added up over all its pieces in DIR/time.json."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch

FILE = "time.json"
Taken = Mapping[str, Mapping[str, float]]


class Times:
    """``folder``: the run's. ``machine``: what it is done on; with ``writes`` off nothing is kept, as all but the first
    of several processes have it."""

    def __init__(self, folder: Path, machine: str, *, writes: bool = True) -> None:
        self._file, self._machine, self._writes = folder / FILE, machine, writes

    @contextmanager
    def of(self, part: str) -> Iterator[None]:
        """Count what is done in it as ``part``'s, also where that ends in an error."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self.add(part, time.monotonic() - begun)

    def add(self, part: str, seconds: float) -> None:
        """Some more of a part."""
        if not self._writes:
            return
        taken = {machine: dict(parts) for machine, parts in read_times(self._file.parent).items()}
        parts = taken.setdefault(self._machine, {})
        parts[part] = round(parts.get(part, 0.0) + seconds, 1)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        partial = self._file.with_suffix(".part")
        partial.write_text(json.dumps(taken, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        partial.replace(self._file)


def read_times(folder: Path) -> Taken:
    """Seconds by machine and part; nothing where nothing was counted yet."""
    file = folder / FILE
    if not file.is_file():
        return {}
    found: Taken = json.loads(file.read_text(encoding="utf-8"))
    return found


def total(folder: Path) -> float:
    """Seconds in all."""
    return sum(seconds for parts in read_times(folder).values() for seconds in parts.values())


def describe_machine(processes: int, *, gpu: bool) -> str:
    """What computes, and in how many processes."""
    what = torch.cuda.get_device_name() if gpu else f"{_processor()}, {cores()} cores"
    return f"{what}, {processes} {'process' if processes == 1 else 'processes'}"


def cores() -> int:
    """Those that this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()
