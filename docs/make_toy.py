"""Draws docs/score-distillation.png: python docs/make_toy.py [OUT.png]

A student that turns noise into points of the plane in one step, beside the mixture that it is to learn: taught by the
squares to a few of the teacher's samples, and by score distillation, which needs none. The same functions train U-Nets.
With thousands of samples squares do as well here; of pictures there are never enough. Seconds on a CPU.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from pipelines.training import toy

DOCS = Path(__file__).parent
#: Everything is drawn at this many times its size and shrunk, so that edges are smooth.
FINE = 3
PANEL, GAP, HEAD, FOOT = 236, 14, 34, 30
REACH = 2.1  # what a panel shows, to each side of the middle
INK, FAINT, PAPER = "#1f2933", "#d5dbe1", "#ffffff"
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#7b8794"
POINTS, STEPS, PAIRS = 1000, 1200, 32


def panels() -> list[tuple[str, str, str, Tensor]]:
    """Title, what is said below it, colour and points of each."""
    ring, noise = toy.Mixture.ring(), toy.spread_noise(POINTS)
    torch.manual_seed(0)
    target = ring.sample(POINTS)
    squares, distilled = f"squares to {PAIRS} samples", "score distillation"
    students = {name: toy.new_student() for name in ("before training", squares, distilled)}
    toy.regress(students[squares], ring, steps=STEPS, pairs=PAIRS)
    torch.manual_seed(0)
    toy.distil(students[distilled], ring, steps=STEPS)
    found = [("target", f"{len(ring.centres)} Gaussians", GREY, target)]
    for name, student in students.items():
        with torch.no_grad():
            points = student(noise)
        colour = ORANGE if name == distilled else BLUE
        found.append((name, f"Wasserstein distance {toy.wasserstein(points, target):.3f}", colour, points))
    return found


def draw(found: Sequence[tuple[str, str, str, Tensor]]) -> Image.Image:
    width, height = len(found) * (PANEL + GAP) + GAP, HEAD + PANEL + FOOT
    picture = Image.new("RGB", (width * FINE, height * FINE), PAPER)
    pen = ImageDraw.Draw(picture)
    for number, (title, below, colour, points) in enumerate(found):
        left = GAP + number * (PANEL + GAP)
        edges = (left * FINE, HEAD * FINE, (left + PANEL) * FINE, (HEAD + PANEL) * FINE)
        pen.rectangle(edges, outline=FAINT, width=FINE)
        middle = left + PANEL / 2
        _write(pen, (middle, HEAD / 2), title, 16)
        _write(pen, (middle, HEAD + PANEL + FOOT / 2), below, 14)
        for x, y in points.tolist():
            if max(abs(x), abs(y)) < REACH:
                _dot(pen, middle + x / REACH * PANEL / 2, HEAD + PANEL / 2 - y / REACH * PANEL / 2, colour)
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def _dot(pen: ImageDraw.ImageDraw, x: float, y: float, colour: str) -> None:
    radius = 1.4
    pen.ellipse(tuple(FINE * each for each in (x - radius, y - radius, x + radius, y + radius)), fill=colour)


def _write(pen: ImageDraw.ImageDraw, at: tuple[float, float], words: str, size: int) -> None:
    font = ImageFont.load_default(size * FINE)
    pen.text((at[0] * FINE, at[1] * FINE), words, font=font, fill=INK, anchor="mm")


if __name__ == "__main__":
    draw(panels()).save(Path(sys.argv[1]) if len(sys.argv) > 1 else DOCS / "score-distillation.png", optimize=True)
