"""Every figure of the README, measured here (``make bench``): prints tables, writes JSON to benchmarks/results/.

What this machine can't do is skipped, and said. Results of a CPU go to ``cpu``, those of a GPU to a folder of its name.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
import traceback
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from realtime.bench import BENCHMARKS, main
from realtime.bench.environment import device_name
from realtime.bench.errors import CantRun
from realtime.bench.weights import subject

RESULTS = Path(__file__).parent / "results"
#: Seconds of measuring proper in each; what comes on top is loading and compiling. On a GPU that has to compile for
#: every batch size, all must be done within nine minutes.
SECONDS: dict[str, dict[str, Any]] = {
    "model": {"seconds": 20.0},
    "loop": {"seconds": 15.0},
    "sessions": {"seconds": 44.0},
    "start": {},
    "memory": {"frames": 10_000},
    "e2e": {"seconds": 20.0},
}

#: Each takes about so many seconds on a GPU, compiling included; what there is no time for is skipped.
ABOUT = {"model": 330, "loop": 50, "sessions": 80, "start": 60, "memory": 60, "e2e": 60}
GPU_BUDGET = 540.0
#: What these tell doesn't hang on the model: they take the smallest that does.
OWN_MODEL = ("start", "memory")


def run() -> int:
    """0 when at least one benchmark ran, and none failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", default=BENCHMARKS, help=f"which of {', '.join(BENCHMARKS)}; all of them")
    parser.add_argument("--model", default="auto", help="as of sdxs-live bench")
    parser.add_argument("--scale", type=float, default=1.0, help="measure so many times as long")
    parser.add_argument("--budget", type=float, help="seconds for all; 540 on a GPU, 0 for no limit")
    parser.add_argument("--into", type=Path, help="folder for the JSON files; one of benchmarks/results otherwise")
    options = parser.parse_args()
    into = options.into or RESULTS / folder_name(device_name())
    on_gpu = device_name() != "no GPU"
    budget = (GPU_BUDGET if on_gpu else 0.0) if options.budget is None else options.budget
    began = time.monotonic()
    undone: list[str] = []
    try:
        # Random weights are written once for all benchmarks.
        with subject(options.model) as what:
            for name in options.what:
                start = time.monotonic()
                if budget and start - began + ABOUT[name] * min(1.0, options.scale) > budget:
                    undone.append(f"{name} is skipped: of {budget:.0f} s too few are left; run it by itself.")
                    continue
                model = "auto" if name in OWN_MODEL else what.name
                given = _given(name, into, options.scale, hurried=on_gpu and bool(budget))
                undone += _one(name, model, into, given)
                took = time.monotonic() - start
                print(f"  {name} took {took:.0f} s, {time.monotonic() - began:.0f} s in all\n", flush=True)
    except CantRun as reason:
        undone.append(f"Nothing can be measured here: {reason}")
    print("\n".join(undone or ["Nothing was skipped."]))
    print(f"JSON in {into}")
    return int(len(undone) == len(options.what) or any("failed" in line for line in undone))


def _one(name: str, model: str, into: Path, given: dict[str, Any]) -> list[str]:
    """Run one; a line about it when it was not to be done."""
    try:
        main(name, into / f"{name}.json", model=model, **given)
    except CantRun as reason:
        return [f"{name} is skipped: {reason}"]
    except Exception:  # the others are still to be measured
        traceback.print_exc()
        return [f"{name} failed; see above."]
    return []


def folder_name(device: str) -> str:
    """``NVIDIA H100 80GB HBM3, CUDA 13.0`` to ``nvidia-h100-80gb-hbm3``."""
    if device == "no GPU":
        return "cpu"
    return re.sub(r"[^a-z0-9]+", "-", device.split(",")[0].lower()).strip("-")


def _given(name: str, into: Path, scale: float, *, hurried: bool) -> dict[str, Any]:
    """The options of one; ``hurried``: two batch sizes, which the benchmark of the model has compiled, must do."""
    given = {key: type(value)(value * scale) for key, value in SECONDS[name].items()}
    if name == "loop":
        into.mkdir(parents=True, exist_ok=True)
        given["trace"] = into / "trace.json"
    if name == "sessions" and hurried:
        given["batches"] = (1, 8)
    return given


if __name__ == "__main__":
    sys.exit(run())
