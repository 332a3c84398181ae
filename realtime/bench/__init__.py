"""What the README's figures come from. Figures are taken side by side in one run, because machines differ and vary."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realtime.errors import BadInput

if TYPE_CHECKING:
    from realtime.bench.report import Report

BENCHMARKS = ("model", "loop", "sessions", "start", "memory", "e2e")

__all__ = ["BENCHMARKS", "main"]


def main(what: str, json_path: Path | None = None, *, model: str = "auto", **options: Any) -> Report:
    """Run one benchmark, print its table, and write it as JSON where asked.

    ``what`` is one of ``BENCHMARKS``; ``options`` are those of its ``run`` that are not None. Raises BadInput for
    another benchmark or option, CantRun for one that this machine can't do, and whatever the pipeline raises.
    """
    run = _benchmark(what)
    from rich.console import Console

    from realtime.bench.environment import machine

    given = {name: value for name, value in options.items() if value is not None}
    unknown = [name for name in given if name not in inspect.signature(run).parameters]
    if unknown:
        raise BadInput(f"The benchmark {what} takes no --{unknown[0].replace('_', '-')}.")
    before = machine()
    report = dataclasses.replace(run(model=model, **given), machine=before)
    # A log has no width of its own, and rich would take 80 columns for one.
    report.print(Console() if sys.stdout.isatty() else Console(width=160))
    if json_path is not None:
        json_path.parent.mkdir(parents=True, exist_ok=True)
        json_path.write_text(json.dumps(report.as_dict(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return report


def _benchmark(what: str) -> Callable[..., Report]:
    if what not in BENCHMARKS:
        raise BadInput(f"There is no benchmark {what!r}; there are {', '.join(BENCHMARKS)}.")
    from realtime.bench.errors import CantRun

    try:
        run: Callable[..., Report] = importlib.import_module(f"realtime.bench.{what}").run
    except ImportError as error:
        raise CantRun(f"{error.name or error} can't be imported here; pip install 'sdxs-live[bench]'.") from None
    return run
