"""What the README's figures come from. Figures are taken side by side in one run, because machines differ and vary."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from realtime.bench.report import Report

BENCHMARKS = ("model", "loop", "e2e")

__all__ = ["BENCHMARKS", "Report", "main"]


def main(what: str, json_path: Path | None = None, *, model: str = "embedded", seconds: float = 20.0) -> Report:
    """Run one benchmark, print its table, and write it as JSON where asked.

    ``what`` is one of ``BENCHMARKS``. Raises ValueError for another, and whatever the pipeline or the browser raises.
    """
    report = _benchmark(what)(model=model, seconds=seconds)
    report.print(Console())
    if json_path is not None:
        json_path.write_text(json.dumps(report.as_dict(), indent=2) + "\n", encoding="utf-8")
    return report


def _benchmark(what: str) -> Callable[..., Report]:
    if what not in BENCHMARKS:
        raise ValueError(f"There is no benchmark {what!r}; there are {', '.join(BENCHMARKS)}.")
    run: Callable[..., Report] = importlib.import_module(f"realtime.bench.{what}").run
    return run
