"""The processor that OpenVINO runs on: what it can, and how it is asked to work."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pipelines.errors import BackendError

#: Instructions that multiply bytes: without them int8 is as slow as f32, and less exact.
_BYTE_PRODUCTS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Target:
    """A device as OpenVINO names it, and how it is to work."""

    device: str
    hints: Mapping[str, Any]


def threads(cores: int | None = None) -> int:
    """How many threads paint: ``$SDXS_THREADS`` if it is set, otherwise all ``cores`` (this process's) up to two, and
    of more all but one, which is for video codecs, maps and the network.

    Measured on two cores with a browser on the same (``sdxs-live bench e2e --seconds 15``): one thread made pictures
    older, as a frame took longer and the other core wasn't busy. They are not pinned to cores: that made no difference
    larger than the one between two runs, and a pinned thread waits for its core where another one is free.
    """
    asked = os.environ.get("SDXS_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    count = cores or _cores()
    return count if count <= 2 else count - 1


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu(core: Any, *, quantised: bool) -> Target:
    """f32, because chips with bf16 would otherwise use that for everything, and be 1e-2 off.

    ``quantised``: what isn't int8 in a quantised model is bf16 where the CPU has it.
    """
    half = quantised and "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return Target(
        device="CPU",
        hints={
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "bf16" if half else "f32",
            "INFERENCE_NUM_THREADS": threads(),
            "ENABLE_CPU_PINNING": False,
        },
    )


def intel_gpu(core: Any) -> Target:
    """The first Intel GPU, in the precision that is its own. Raises BackendError where OpenVINO sees none."""
    if not any(name.split(".")[0] == "GPU" for name in core.available_devices):
        have = ", ".join(core.available_devices) or "none"
        raise BackendError(
            f"OpenVINO sees no Intel GPU here (devices: {have}); install Intel's compute runtime, or use --device cpu."
        )
    return Target(device="GPU", hints={"PERFORMANCE_HINT": "LATENCY"})


def multiplies_bytes(flags: Collection[str] | None = None) -> bool:
    """Whether int8 pays on this CPU. ``flags``: what the kernel says that it can; elsewhere than on Linux unknown."""
    return not _BYTE_PRODUCTS.isdisjoint(_cpu_flags() if flags is None else flags)


def _cpu_flags() -> Collection[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ()
    return next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), ())
