"""Writes the figures of benchmarks/results into the pages: python benchmarks/tables.py [--check]

What stands between ``<!-- bench:NAME -->`` and ``<!-- /bench -->`` in README.md and docs/performance.md is made here
from the JSON files; nothing of it is written by hand.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PAGES = (ROOT / "README.md", ROOT / "docs" / "performance.md")
MARKED = re.compile(r"(<!-- bench:([\w-]+) -->\n).*?(<!-- /bench -->)", re.DOTALL)
NOT_YET = "Not measured yet.\n"
TO_BE_TAKEN = "to be taken"

Report = Mapping[str, Any]
Reports = Mapping[str, Report]


def render(page: str, results: Path = RESULTS) -> str:
    """The page with all its marked blocks made anew. Raises KeyError for a block that nobody knows."""
    reports = read(results / "cpu")
    devices = {folder.name: read(folder) for folder in sorted(results.glob("*")) if folder.name != "cpu"}
    devices = {name: found for name, found in devices.items() if found}

    def block(match: re.Match[str]) -> str:
        name = match[2]
        made = OF_ALL[name](reports, devices) if name in OF_ALL else BLOCKS[name](reports)
        return f"{match[1]}{made.rstrip()}\n{match[3]}"

    return MARKED.sub(block, page)


def read(folder: Path) -> Reports:
    return {
        file.stem: found
        for file in sorted(folder.glob("*.json"))
        if "what" in (found := json.loads(file.read_text(encoding="utf-8")))
    }


def grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column is words, the others are numbers."""
    lines = [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def number(value: Any, digits: int = 1) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.{digits}f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def about(report: Report) -> str:
    """On what, when, of which sources, by which command."""
    machine, subject = report["machine"], report["subject"]
    on_cpu = machine["device"] == "no GPU"
    device = f"{machine['cores']} cores of {machine['processor']}" if on_cpu else machine["device"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    of_what = ", ".join(str(subject[key]) for key in ("model", "size", "precision", "backend") if key in subject)
    return f"{of_what}; {device}, {versions}; {report['date']}, commit {report['commit']}, `{report['command']}`."


def model(reports: Reports) -> str:
    if "model" not in reports:
        return NOT_YET
    report = reports["model"]
    rows = [
        [row["name"], number(row["p50_ms"]), number(row["p95_ms"]), number(row["frames_per_s"])]
        + [number(row["times_diffusers"], 2), number(row["peak_memory_mb"])]
        for row in report["rows"]
    ]
    what = f"one {report['subject']['size']} picture, uint8 to uint8"
    return grid([what, "p50 ms", "p95 ms", "frames/s", "× diffusers", "MB"], rows)


def notes(reports: Reports) -> str:
    if "model" not in reports:
        return NOT_YET
    report = reports["model"]
    lines = [f"- {row['name']}: {row['note']}." for row in report["rows"] if row["note"]]
    return "\n".join([*lines, *(f"- Skipped: {each}" for each in report["skipped"]), f"- {about(report)}"]) + "\n"


def parts(reports: Reports) -> str:
    table = _table(reports, "model", "parts of a picture")
    if table is None:
        return NOT_YET
    head = ["part", "batch", "ms", "pictures/s", "GFLOP a picture", "TFLOP/s", "of the matrix rate"]
    keys = ["name", "batch", "ms", "pictures_per_s", "gflop_a_picture", "tflop_per_s", "share_of_matrix_rate"]
    digits = {"ms": 2, "gflop_a_picture": 2, "tflop_per_s": 3}
    rows = [[number(row[key], digits.get(key, 1)) for key in keys] for row in table["rows"]]
    return f"{grid(head, rows)}\n{_sentence(table['about'])}\n"


def loop(reports: Reports) -> str:
    return _timed(reports, "loop", "ms a frame")


def sessions(reports: Reports) -> str:
    table = _table(reports, "sessions", "users")
    if table is None:
        return NOT_YET
    report = reports["sessions"]
    head = ["users", "frames/s, least", "mean", "age p50 ms", "p95 ms", "batch", "dropped"]
    rows = [[number(cell) for cell in row.values()] for row in table["rows"]]
    return f"{grid(head, rows)}\n{_figures(report)}\n\n{_sentence(report['timed'])} {about(report)}\n"


def start(reports: Reports) -> str:
    return _timed(reports, "start", "ms after the start of `serve`")


def memory(reports: Reports) -> str:
    if "memory" not in reports:
        return NOT_YET
    report = reports["memory"]
    return f"{_figures(report)}\n\n{_sentence(report['timed'])} {about(report)}\n"


def e2e(reports: Reports) -> str:
    table = _table(reports, "e2e", "where the milliseconds go")
    if table is None:
        return NOT_YET
    shares = grid(
        ["part", "ms", "of the median age"], [[number(cell) for cell in row.values()] for row in table["rows"]]
    )
    return f"{_timed(reports, 'e2e', 'ms')}\n{shares}\n{_sentence(table['about'])}\n"


def summary(reports: Reports) -> str:
    """The README's few sentences."""
    if not {"model", "loop", "e2e", "sessions", "start"} <= set(reports):
        return NOT_YET
    figures = {name: report["figures"] for name, report in reports.items()}
    fastest, loop = figures["model"], figures["loop"]
    age, without = reports["e2e"]["rows"]
    starts = {row["name"]: row["p50_ms"] / 1000 for row in reports["start"]["rows"]}
    exact = f"{fastest['frames/s, exact']} frames/s, {fastest['times diffusers, exact']} times diffusers"
    int8 = (
        f"; in int8, whose pictures differ a little, {fastest['frames/s, int8']} frames/s, "
        f"{fastest['times diffusers, int8']} times"
        if "frames/s, int8" in fastest
        else ""
    )
    return "\n".join(
        [
            f"- That is {exact}{int8}.",
            f"- The loop at full speed, drawing canny maps as it goes, costs {loop['overhead over the bare model']} "
            "over the bare model without them, "
            f"{loop['overhead over canny then model']} over canny and model in a row.",
            f"- {_users(figures['sessions']['users with both'])} this machine with pictures younger than 100 ms (p95) "
            "and 24 frames/s or more each.",
            f"- Capture to displayed picture in Chromium on the same machine, 512² at 30 frames/s: p50 "
            f"{age['p50_ms']:.0f} ms, p95 {age['p95_ms']:.0f} ms; less the model's {figures['e2e']['model ms']} ms: "
            f"{without['p50_ms']:.0f} and {without['p95_ms']:.0f}.",
            f"- From `serve` to the page {starts['the page is served']:.1f} s, to the first painted frame "
            f"{starts['first painted frame']:.1f} s; the server takes {figures['start']['peak memory, MB']:,} MB.",
            "",
            f"Measured: {about(reports['model'])}",
        ]
    )


def _users(count: Any) -> str:
    return "One user of 30 frames/s has" if count == 1 else f"{count} users of 30 frames/s share"


def targets(reports: Reports, devices: Mapping[str, Reports]) -> str:
    """What the design asks for, next to what was measured; a figure nobody could take says so."""

    def figure(name: str, key: str, found: Reports = reports) -> Any:
        return found[name]["figures"].get(key) if name in found else None

    def row_of(name: str, row: str, key: str) -> Any:
        rows = reports[name]["rows"] if name in reports else []
        return next((each[key] for each in rows if each["name"] == row), None)

    gpu = next((found for found in devices.values() if "model" in found), {})
    quick = [row for row in gpu.get("model", {}).get("rows", []) if row["name"].startswith("sdxs-live")]
    best = min(quick, key=lambda row: row["p50_ms"], default={})
    eight = next((row["pictures_per_s"] for row in _whole(gpu) if row["batch"] == 8), None)
    first = row_of("start", "first painted frame", "p50_ms")
    rows = [
        ("embedded, 2 CPU cores, 256²: frames/s", "20", "40", figure("model", "frames/s, exact")),
        ("the same in int8", "", "40", figure("model", "frames/s, int8")),
        ("the same, times diffusers' pipeline", "2.2", "4", figure("model", "times diffusers, exact")),
        ("the same in int8", "", "4", figure("model", "times diffusers, int8")),
        ("loop, canny in it, over the bare model", "10 %", "3 %", figure("loop", "overhead over the bare model")),
        ("the same over canny, then the model", "", "", figure("loop", "overhead over canny then model")),
        (
            "camera to display less the model, p95 ms",
            "60",
            "45",
            row_of("e2e", "the same less the model's time", "p95_ms"),
        ),
        ("`serve` to the first painted frame, s", "10", "5", first and round(first / 1000, 1)),
        ("`serve`, memory at most, MB", "1,500", "1,000", figure("start", "peak memory, MB")),
        ("10,000 frames, growth in MB", "flat", "flat", figure("memory", "growth, MB")),
        ("H100, SDXS-512 with ControlNet, 512², fp16, batch 1: ms", "4", "2.5", best.get("p50_ms")),
        ("the same, batch 8: frames/s", "450", "600", eight),
        ("the same, times diffusers' pipeline", "5", "8", best.get("times_diffusers")),
        ("the same, batch 1: GPU memory, MB", "2,500", "", best.get("peak_memory_mb")),
    ]
    filled = [[what, must, aim, number(found) or TO_BE_TAKEN] for what, must, aim, found in rows]
    return grid(["", "must", "aim", "measured"], filled)


def flops(reports: Reports) -> str:
    """Counted now, from the layouts: no measurement."""
    from realtime.bench.flops import count_layout
    from realtime.bench.random_weights import LAYOUTS

    rows = []
    for name in ("sdxs-512-dreamshaper", "embedded"):
        side = LAYOUTS[name].side
        found = count_layout(LAYOUTS[name])
        every = (found.text, found.controlnet, found.unet, found.decoder, found.frame)
        rows.append([f"{name}, {side}×{side}", *(f"{each / 1e9:.3g}" for each in every)])
    head = ["GFLOP", "text encoder (once a prompt)", "ControlNet", "U-Net", "decoder", "a frame"]
    return grid(head, rows)


def gpus(_: Reports, devices: Mapping[str, Reports]) -> str:
    if not devices:
        return "No GPU was at hand: every figure of one is still to be taken, by the command above.\n"
    made = []
    for name, reports in devices.items():
        made += [f"**{name}**", *(block(reports) for block in (model, notes, parts, loop, sessions))]
    return "\n".join(made)


def _timed(reports: Reports, name: str, unit: str) -> str:
    if name not in reports:
        return NOT_YET
    report = reports[name]
    rows = [[row["name"], number(row["p50_ms"]), number(row["p95_ms"]), number(row["count"])] for row in report["rows"]]
    table = grid([unit, "p50", "p95", "n"], rows)
    return f"{table}\n{_figures(report)}\n\n{_sentence(report['timed'])} {about(report)}\n"


def _figures(report: Report) -> str:
    return "\n".join(f"- {name}: {number(value)}" for name, value in report["figures"].items())


def _table(reports: Reports, name: str, title: str) -> Any:
    tables = reports[name]["tables"] if name in reports else []
    return next((table for table in tables if table["name"] == title), None)


def _whole(reports: Reports) -> Sequence[Mapping[str, Any]]:
    table = _table(reports, "model", "parts of a picture")
    return [row for row in (table or {"rows": []})["rows"] if row["name"].startswith("one frame")]


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


BLOCKS: Mapping[str, Callable[[Reports], str]] = {
    "model": model,
    "notes": notes,
    "parts": parts,
    "loop": loop,
    "sessions": sessions,
    "start": start,
    "memory": memory,
    "e2e": e2e,
    "summary": summary,
    "flops": flops,
}

OF_ALL: Mapping[str, Callable[[Reports, Mapping[str, Reports]], str]] = {"targets": targets, "gpu": gpus}


def main() -> int:
    """1 when asked to check and a page isn't what it would be made now."""
    stale = []
    for page in PAGES:
        before = page.read_text(encoding="utf-8")
        after = render(before)
        if after != before:
            stale.append(page.name)
            if "--check" not in sys.argv:
                page.write_text(after, encoding="utf-8")
    print(f"Changed: {', '.join(stale) or 'nothing'}")
    return int(bool(stale) and "--check" in sys.argv)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
