"""Draws docs/timeline.png from a trace of the real loop: python docs/make_timeline.py [TRACE.json] [OUT.png]

The trace is what `sdxs-live bench loop --trace TRACE.json` writes; without one, that of benchmarks/results/cpu.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

DOCS = Path(__file__).parent
TRACE = DOCS.parent / "benchmarks" / "results" / "cpu" / "trace.json"
#: Everything is drawn at this many times its size and shrunk, so that edges are smooth.
FINE = 2
WIDTH, LEFT, RIGHT, TOP, ROW, GAP = 1400, 190, 30, 84, 40, 12
#: How many frames are shown.
FRAMES = 4
INK, FAINT, PAPER = "#1f2933", "#d5dbe1", "#ffffff"
#: One a frame, told apart by everyone (Okabe and Ito's palette).
COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#cc79a7", "#f0e442")
ROWS = {
    "prepare": "fit, canny (pool)",
    "inference thread": "inference thread",
    "upload": "upload",
    "compute": "compute",
    "download": "download",
    "frames": "capture to delivery",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bar:
    """Milliseconds from the window's beginning. ``lane``: of those that overlap in one row."""

    row: str
    begin: float
    end: float
    seq: int | None
    lane: int = 0


def read(file: Path) -> tuple[list[Bar], dict[str, Any]]:
    trace = json.loads(file.read_text(encoding="utf-8"))
    bars, begun = [], {}
    for event in trace["traceEvents"]:
        at = event.get("ts", 0.0) / 1000
        if event["ph"] == "X":
            seqs = event["args"]["seqs"]
            row = next(name for name in ROWS if event["cat"].startswith(name))
            bars.append(Bar(row=row, begin=at, end=at + event["dur"] / 1000, seq=seqs[0] if seqs else None))
        elif event["ph"] == "b":
            begun[event["id"]] = at
        elif event["ph"] == "e":
            bars.append(Bar(row="frames", begin=begun[event["id"]], end=at, seq=event["id"]))
    return bars, trace["otherData"]


def window(bars: Sequence[Bar]) -> tuple[float, float]:
    """From the capture of a frame in the middle of the trace to the delivery of the last one that is shown."""
    frames = sorted((bar for bar in bars if bar.row == "frames"), key=lambda bar: bar.begin)
    first = len(frames) // 2
    shown = frames[first : first + FRAMES]
    margin = (shown[-1].end - shown[0].begin) * 0.03
    return shown[0].begin - margin, shown[-1].end + margin


def in_lanes(bars: Sequence[Bar], begin: float, end: float) -> list[Bar]:
    """Those within the window, cut at its ends and counted from its beginning, overlapping ones below each other."""
    placed: list[Bar] = []
    for row in ROWS:
        busy_until: list[float] = []
        for bar in sorted((b for b in bars if b.row == row and b.end > begin and b.begin < end), key=lambda b: b.begin):
            lane = next((i for i, until in enumerate(busy_until) if until <= bar.begin), len(busy_until))
            busy_until[lane : lane + 1] = [bar.end]
            cut = {"begin": max(bar.begin, begin) - begin, "end": min(bar.end, end) - begin}
            placed.append(dataclasses.replace(bar, lane=lane, **cut))
    return placed


def draw(bars: Sequence[Bar], span: float, title: str, below: str) -> Image.Image:
    lanes = {row: 1 + max((bar.lane for bar in bars if bar.row == row), default=0) for row in ROWS}
    tops, y = {}, TOP
    for row in ROWS:
        tops[row] = y
        y += lanes[row] * ROW + GAP
    picture = Image.new("RGB", (WIDTH * FINE, (y + 48) * FINE), PAPER)
    pen = _Pen(picture)
    scale = (WIDTH - LEFT - RIGHT) / span
    pen.text((20, 16), title, size=22)
    pen.text((20, 48), below, size=15, colour="#52606d")
    _axis(pen, span, scale, bottom=y)
    for row, label in ROWS.items():
        pen.text((20, tops[row] + 9), label, size=16)
        pen.line((20, tops[row] - GAP / 2, WIDTH - RIGHT, tops[row] - GAP / 2), FAINT)
    for bar in bars:
        left, right = LEFT + bar.begin * scale, LEFT + bar.end * scale
        top = tops[bar.row] + bar.lane * ROW + 4
        colour = FAINT if bar.seq is None else COLOURS[bar.seq % len(COLOURS)]
        pen.box((left, top, max(right, left + 2), top + ROW - 8), colour)
        if bar.seq is not None and right - left > 44:
            pen.text(((left + right) / 2, top + (ROW - 8) / 2), str(bar.seq), size=15, anchor="mm")
    return picture.resize((WIDTH, picture.height // FINE), Image.Resampling.LANCZOS)


def _axis(pen: _Pen, span: float, scale: float, bottom: float) -> None:
    step = next(each for each in (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if span / each <= 12)
    for tick in range(int(span / step) + 1):
        x = LEFT + tick * step * scale
        pen.line((x, TOP - GAP / 2, x, bottom), FAINT)
        pen.text((x, bottom + 8), f"{tick * step:g}", size=15, anchor="ma")
    pen.text((WIDTH - RIGHT, bottom + 28), "milliseconds", size=15, anchor="ra")


class _Pen:
    """Draws in the picture's final pixels."""

    def __init__(self, picture: Image.Image) -> None:
        self._draw = ImageDraw.Draw(picture)

    def text(self, at: tuple[float, float], words: str, *, size: int, colour: str = INK, anchor: str = "la") -> None:
        font = ImageFont.load_default(size * FINE)
        self._draw.text((at[0] * FINE, at[1] * FINE), words, font=font, fill=colour, anchor=anchor)

    def line(self, ends: tuple[float, float, float, float], colour: str) -> None:
        self._draw.line([each * FINE for each in ends], fill=colour, width=FINE)

    def box(self, edges: tuple[float, float, float, float], colour: str) -> None:
        self._draw.rounded_rectangle([each * FINE for each in edges], radius=3 * FINE, fill=colour)


def main(trace: Path = TRACE, target: Path = DOCS / "timeline.png") -> None:
    bars, about = read(trace)
    begin, end = window(bars)
    machine = about["machine"]
    where = (
        machine["device"] if machine["device"] != "no GPU" else f"{machine['cores']} cores of {machine['processor']}"
    )
    title = f"One session at full speed: {about['model']}, {about['backend']}, {where}"
    below = "Each frame has a number and a colour. Grey: the inference thread waits and copies out."
    draw(in_lanes(bars, begin, end), end - begin, title, below).save(target, optimize=True)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
