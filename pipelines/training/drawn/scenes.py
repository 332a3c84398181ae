"""What a sample is to show, known before anything is drawn: its content, its map, its colours, its strength."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Kind = Literal["canvas", "subject", "words", "solids"]

_WORDS, _SUBJECT, _SOLIDS = 0.10, 0.28, 0.12  # shares; the rest are canvases
_SKETCHED = 0.20
_CAMERA = {"canvas": 0.65, "subject": 0.45, "words": 0.0, "solids": 0.6}
_WHOLE = 0.35  # share of the samples at conditioning scale 1
_WEAKEST = 0.05


@dataclass(frozen=True, kw_only=True)
class Plan:
    """``kind``: a canvas or a subject with its map, solids with their depth, or words alone, which show a ground.

    ``content``: a canvas', a subject's (words may name one) or a scene's number. ``camera``: the colours are the
    picture's own and shown to the model. ``sketched``: the map is drawn by hand. ``strength``: the conditioning scale.
    ``styles``: numbers of two of them.
    """

    kind: Kind
    content: int
    camera: bool
    sketched: bool
    strength: float
    styles: tuple[int, int]


def plan(scene: int, *, canvases: int, subjects: int, styles: int) -> Plan:
    """Scene number ``scene`` of a world with so many canvases, subjects and styles. Takes microseconds.

    A canvas goes with every ``canvases``-th scene, so that what is held out by its number shows canvases of its own.
    """
    rng = np.random.default_rng((11, scene))
    draw, one, other = rng.random(), int(rng.integers(styles)), int(rng.integers(styles - 1))
    kind = _kind(draw)
    whole, part = rng.random() < _WHOLE, float(rng.uniform(_WEAKEST, 1))
    return Plan(
        kind=kind,
        content={"canvas": scene % canvases, "solids": scene}.get(kind, int(rng.integers(subjects))),
        camera=bool(rng.random() < _CAMERA[kind]),
        sketched=bool(rng.random() < _SKETCHED) and kind in ("canvas", "subject"),
        strength=0.0 if kind == "words" else 1.0 if whole else part,
        styles=(one, other + (other >= one)),
    )


def _kind(draw: float) -> Kind:
    """What a number in 0..1 stands for."""
    if draw < _WORDS:
        return "words"
    if draw < _WORDS + _SUBJECT:
        return "subject"
    return "solids" if draw < _WORDS + _SUBJECT + _SOLIDS else "canvas"


def random_field(rng: np.random.Generator) -> NDArray[np.float32]:
    """A smooth field of colours, 8×8×3 in [0, 1], around a palette of its own."""
    palette = rng.normal(0.5, 0.13, 3)
    coarse = rng.normal(palette, 0.2, (4, 4, 3)).astype(np.float32)
    return np.clip(cv2.resize(coarse, (8, 8), interpolation=cv2.INTER_CUBIC), 0, 1)
