"""Every figure of the README, measured here (``make bench``): prints tables, writes JSON to benchmarks/results/.

What this machine can't do is skipped, and said. Results of a CPU go to ``cpu``, those of a GPU to a folder of its name.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
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

#: What these tell doesn't hang on the model: they take the smallest that does.
OWN_MODEL = ("start", "memory")


def run() -> int:
    """0 when at least one benchmark ran."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", default=BENCHMARKS, help=f"which of {', '.join(BENCHMARKS)}; all of them")
    parser.add_argument("--model", default="auto", help="as of sdxs-live bench")
    parser.add_argument("--scale", type=float, default=1.0, help="measure so many times as long")
    parser.add_argument("--into", type=Path, help="folder for the JSON files; one of benchmarks/results otherwise")
    options = parser.parse_args()
    into = options.into or RESULTS / folder_name(device_name())
    began, skipped = time.monotonic(), []
    # Random weights are written once for all benchmarks.
    with subject(options.model) as what:
        for name in options.what:
            start = time.monotonic()
            try:
                model = "auto" if name in OWN_MODEL else what.name
                main(name, into / f"{name}.json", model=model, **_longer(SECONDS[name], options.scale, name, into))
            except CantRun as reason:
                skipped.append(f"{name}: {reason}")
                print(f"\n{name} is skipped: {reason}")
            took = time.monotonic() - start
            print(f"  {name} took {took:.0f} s, {time.monotonic() - began:.0f} s in all\n", flush=True)
    for line in skipped:
        print(f"Skipped {line}")
    print(f"JSON in {into}")
    return int(len(skipped) == len(options.what))


def folder_name(device: str) -> str:
    """``NVIDIA H100 80GB HBM3, CUDA 13.0`` to ``nvidia-h100-80gb-hbm3``."""
    if device == "no GPU":
        return "cpu"
    return re.sub(r"[^a-z0-9]+", "-", device.split(",")[0].lower()).strip("-")


def _longer(given: dict[str, Any], scale: float, name: str, into: Path) -> dict[str, Any]:
    longer = {key: type(value)(value * scale) for key, value in given.items()}
    if name == "loop":
        into.mkdir(parents=True, exist_ok=True)
        longer["trace"] = into / "trace.json"
    return longer


if __name__ == "__main__":
    sys.exit(run())
