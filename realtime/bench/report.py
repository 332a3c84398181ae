"""A table that says what was measured on what, for people and as JSON."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable

from realtime.bench.environment import command, commit, machine

#: A number, a word, or nothing to tell.
Cell = float | int | str | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One thing that was timed: milliseconds of each repetition, in order. ``more``: further columns by name."""

    name: str
    milliseconds: Sequence[float]
    note: str = ""
    more: Mapping[str, Cell] = dataclasses.field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "count": len(self.milliseconds),
            "p50_ms": _rounded(percentile(self.milliseconds, 50)),
            "p95_ms": _rounded(percentile(self.milliseconds, 95)),
            **self.more,
            "note": self.note,
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """Anything else with columns; ``about`` says what they are."""

    name: str
    about: str
    rows: Sequence[Mapping[str, Cell]]

    def as_dict(self) -> dict[str, Any]:
        return {"name": self.name, "about": self.about, "rows": [dict(row) for row in self.rows]}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """What one benchmark found.

    ``timed``: what exactly. ``subject``: the model, its size, the precision, the backend: what the figures are of.
    ``figures``: the derived numbers: ratios, rates, shares. ``skipped``: what could not be measured here, and why.
    """

    what: str
    timed: str
    rows: Sequence[Row] = ()
    figures: Mapping[str, Cell] = dataclasses.field(default_factory=dict)
    subject: Mapping[str, Cell] = dataclasses.field(default_factory=dict)
    tables: Sequence[Table] = ()
    skipped: Sequence[str] = ()
    #: Taken when the report is made, which is after the run; what was there before it is more telling.
    machine: Mapping[str, Any] = dataclasses.field(default_factory=machine)

    @functools.cached_property
    def _made(self) -> dict[str, str]:
        return {"date": datetime.date.today().isoformat(), "command": command(), "commit": commit()}

    def as_dict(self) -> dict[str, Any]:
        return {
            "what": self.what,
            "timed": self.timed,
            **self._made,
            "machine": dict(self.machine),
            "subject": dict(self.subject),
            "rows": [row.as_dict() for row in self.rows],
            "tables": [table.as_dict() for table in self.tables],
            "figures": dict(self.figures),
            "skipped": list(self.skipped),
        }

    def print(self, console: Console) -> None:
        if self.rows:
            _print_grid(console, f"sdxs-live bench {self.what}", self.timed, [row.as_dict() for row in self.rows])
        for table in self.tables:
            _print_grid(console, table.name, table.about, table.rows)
        for name, value in self.figures.items():
            _say(console, f"  {name}: {shown(value)}")
        for sentence in self.skipped:
            _say(console, f"  Skipped: {sentence}")
        _say(console, f"  {_about(self.subject, self.machine)}")


def _print_grid(console: Console, title: str, about: str, rows: Sequence[Mapping[str, Cell]]) -> None:
    """The columns are those of all rows, in the order in which they first come; notes stand below."""
    table = RichTable(title=title, title_justify="left", box=None, pad_edge=False)
    names = list(dict.fromkeys(name for row in rows for name, value in row.items() if shown(value)))
    for name in names:
        if name != "note":
            words = any(not _is_number(text) for row in rows if (text := shown(row.get(name))))
            table.add_column(name.replace("_", " "), justify="left" if words else "right", no_wrap=name == "name")
    for row in rows:
        table.add_row(*(shown(row.get(name)) for name in names if name != "note"))
    console.print(table)
    for note in dict.fromkeys(f"{row.get('name')}: {row['note']}" for row in rows if row.get("note")):
        _say(console, f"  {note}")
    _say(console, f"  {about}")


def _say(console: Console, line: str) -> None:
    console.print(line, soft_wrap=True, highlight=False, markup=False)


def shown(value: Cell) -> str:
    """As people read it: four digits, thousands apart, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return str(value)


def _is_number(text: str) -> bool:
    return text.replace(",", "").replace(".", "").lstrip("+-").rstrip("%").isdigit()


def _about(subject: Mapping[str, Cell], about: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    of_what = ", ".join(f"{name} {value}" for name, value in subject.items())
    return f"{of_what}; on {about['processor']}, {about['cores']} cores, {about['device']}; {versions}"


def _rounded(value: float) -> float | None:
    """None for what wasn't measured: JSON has no word for not a number."""
    return None if math.isnan(value) else round(value, 3)


def percentile(values: Sequence[float], percent: int) -> float:
    """Linear between neighbours; the value itself for a single one, not a number for none."""
    if len(values) < 2:
        return values[0] if values else float("nan")
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
