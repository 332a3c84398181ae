"""Every figure of the README, measured here (``make bench``): prints tables, writes JSON to benchmarks/results/."""

from __future__ import annotations

import argparse
from pathlib import Path

from realtime.bench import BENCHMARKS, main

RESULTS = Path(__file__).parent / "results"


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", default=BENCHMARKS, help=f"which of {', '.join(BENCHMARKS)}; all of them")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each is measured")
    parser.add_argument("--into", type=Path, default=RESULTS, help="folder for the JSON files")
    options = parser.parse_args()
    options.into.mkdir(parents=True, exist_ok=True)
    for what in options.what:
        main(what, options.into / f"{what}.json", seconds=options.seconds)


if __name__ == "__main__":
    run()
