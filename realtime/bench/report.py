"""A table that says what was measured on what, for people and as JSON."""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import platform
import statistics
from collections.abc import Sequence
from typing import Any

import psutil
import torch
from rich.console import Console
from rich.table import Table

_VERSIONS = ("sdxs-live", "torch", "diffusers", "openvino", "aiortc", "av", "controlnet-aux")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One thing that was timed: milliseconds of each repetition, in order."""

    name: str
    milliseconds: Sequence[float]
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "count": len(self.milliseconds),
            "p50_ms": round(percentile(self.milliseconds, 50), 3),
            "p95_ms": round(percentile(self.milliseconds, 95), 3),
            "note": self.note,
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """What one benchmark found. ``figures`` are the derived numbers: ratios, rates, shares."""

    what: str
    timed: str
    rows: Sequence[Row]
    figures: dict[str, float | int | str]

    def as_dict(self) -> dict[str, Any]:
        return {
            "what": self.what,
            "timed": self.timed,
            "date": datetime.date.today().isoformat(),
            "machine": machine(),
            "rows": [row.as_dict() for row in self.rows],
            "figures": self.figures,
        }

    def print(self, console: Console) -> None:
        table = Table(title=f"sdxs-live bench {self.what}", caption=self.timed, title_justify="left")
        for column, justify in (("", "left"), ("p50 ms", "right"), ("p95 ms", "right"), ("n", "right"), ("", "left")):
            table.add_column(column, justify=justify)  # type: ignore[arg-type]
        for row in (row.as_dict() for row in self.rows):
            table.add_row(row["name"], f"{row['p50_ms']:.1f}", f"{row['p95_ms']:.1f}", str(row["count"]), row["note"])
        console.print(table)
        for name, value in self.figures.items():
            console.print(f"  {name}: [bold]{value}[/bold]")
        about = machine()
        console.print(f"  on {about['processor']}, {about['cores']} cores, {about['device']}; " + _versions(about))


def percentile(values: Sequence[float], percent: int) -> float:
    """Linear between neighbours; the value itself for a single one."""
    if len(values) < 2:
        return values[0] if values else float("nan")
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def machine() -> dict[str, Any]:
    """What a figure depends on: processor, device and versions."""
    return {
        "processor": _processor(),
        "cores": len(psutil.Process().cpu_affinity())
        if hasattr(psutil.Process, "cpu_affinity")
        else psutil.cpu_count(),
        "load_before": round(psutil.getloadavg()[0], 2),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "versions": {name: importlib.metadata.version(name) for name in _VERSIONS},
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _versions(about: dict[str, Any]) -> str:
    return ", ".join(f"{name} {version}" for name, version in about["versions"].items())
