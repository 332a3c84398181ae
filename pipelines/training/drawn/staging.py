"""A scene's content put before the camera: the picture, the map drawn of it, and the lines to paint."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.training.data.maps import webcam_edges
from pipelines.training.drawn.canvases import random_crop
from pipelines.training.drawn.scenes import Plan, random_field
from pipelines.training.drawn.sketches import sketch
from pipelines.training.drawn.solids import render
from pipelines.training.drawn.steadying import LEAST, clean_edges, joined
from pipelines.training.drawn.subjects import Cutout
from pipelines.training.drawn.thinning import Edges, without_specks

Picture = NDArray[np.uint8]

_BARE = 0.02  # share of edge pixels below which a crop teaches little
_SHIFT, _SMALLEST, _LARGEST = 0.06, 0.85, 1.1  # of a subject
_GRADED = 0.07  # how much lighter a subject's ground is at the top than in the middle


@dataclass(frozen=True, kw_only=True)
class Staged:
    """``picture``: what the camera sees, uint8 H×W×3 RGB. ``map``: uint8 H×W, lines white on black, or depth.
    ``lines``: 0 or 255; ``shown``: how much of them is to be seen, 0..1."""

    picture: Picture
    map: NDArray[np.uint8]
    lines: Edges
    shown: float = 1.0


def stage_canvas(canvas: Picture, size: int, plan: Plan, rng: np.random.Generator) -> Staged:
    """A crop of a canvas, whose lines fade with the plan's strength; its map shows all of them."""
    for _ in range(4):
        crop = random_crop(canvas, size, rng)
        drawn, lines = _mapped(crop, None, plan, rng)
        if (lines > 0).mean() > _BARE:
            break
    return Staged(picture=crop, map=drawn, lines=lines, shown=plan.strength)


def stage_solids(size: int, plan: Plan, rng: np.random.Generator) -> Staged:
    """Solids with their depth as map; the lines where it jumps fade with the plan's strength."""
    seen = render(size, rng)
    return Staged(picture=seen.picture, map=seen.depth, lines=seen.lines, shown=plan.strength)


def stage_words(size: int) -> Staged:
    """Nothing to be seen and no map."""
    nothing = np.zeros((size, size), np.uint8)
    return Staged(picture=np.zeros((size, size, 3), np.uint8), map=nothing, lines=nothing)


def stage_subject(
    cutout: Cutout, size: int, plan: Plan, field: NDArray[np.float32], rng: np.random.Generator
) -> Staged:
    """A subject on a ground of the field's mean colour, or before the camera of any. All its lines are to be painted.

    ``cutout``: 256×256×4. ``field``: h×w×3 in [0, 1].
    """
    ground = _ground(random_field(rng) if plan.camera else field, size)
    placed = _placed(cutout, size, rng)
    alpha = placed[..., 3:]
    picture = np.rint((ground * (1 - alpha) + placed[..., :3]) * 255).astype(np.uint8)
    outline = np.asarray(cv2.Canny(np.rint(alpha[..., 0] * 255).astype(np.uint8), 100, 200), np.uint8)
    drawn, lines = _mapped(picture, outline, plan, rng)
    return Staged(picture=picture, map=drawn, lines=lines)


def _mapped(
    picture: Picture, outline: Edges | None, plan: Plan, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], Edges]:
    """The map as a hand or a webcam gives it, and of its lines those that are in the picture.

    With ``outline`` the content is known by its words, so that its clean lines and outline are there in any case.
    """
    if plan.sketched:
        return sketch(picture, outline, rng)
    edges = webcam_edges(picture, rng)
    lines = without_specks(edges, LEAST)  # what else is noise can't be told from near
    return edges, lines if outline is None else joined(joined(lines, clean_edges(picture, edges)), outline, within=3)


def _ground(field: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    mean = field.mean((0, 1), dtype=np.float32)
    ramp = np.linspace(_GRADED, -_GRADED, size, dtype=np.float32)[:, None, None]
    return np.clip(np.broadcast_to(mean + ramp, (size, size, 3)), 0, 1)


def _placed(cutout: Cutout, size: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """size×size×4 in [0, 1], the colours multiplied by the opacity."""
    seen = cutout.astype(np.float32) / np.float32(255)
    seen[..., :3] *= seen[..., 3:]
    if seen.shape[0] != size:
        seen = cv2.resize(seen, (size, size), interpolation=cv2.INTER_AREA)
    turn = cv2.getRotationMatrix2D((size / 2, size / 2), 0.0, float(rng.uniform(_SMALLEST, _LARGEST)))
    turn[:, 2] += rng.uniform(-_SHIFT, _SHIFT, 2) * size
    return np.asarray(cv2.warpAffine(seen, turn, (size, size), flags=cv2.INTER_LINEAR), np.float32)
