"""Depth skill: whether pictures painted from a depth map have their lines where the depth jumps. At most 1, higher is
better, 0 is chance.

The edge skill (``edges``) of pictures painted from rendered solids, whose depth is known and which no model was trained
on, against the lines where that depth jumps. No network judges it.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.errors import TrainingError
from pipelines.training.drawn.solids import render
from pipelines.training.evaluation.bench import Bench
from pipelines.training.evaluation.edges import edge_skill
from pipelines.training.evaluation.score import Score

_SEED = 97  # training's scenes have others
_FEWEST_LINES = 0.01  # share of the pixels: a scene of less tells little


def known_scenes(count: int, size: tuple[int, int]) -> list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """``count`` maps (height×width, near is white) with the lines where they jump (0 or 255); always the same."""
    scenes: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]] = []
    place, (height, width) = 0, size
    while len(scenes) < count:
        seen, place = render(max(size), np.random.default_rng((_SEED, place))), place + 1
        top, left = (max(size) - height) // 2, (max(size) - width) // 2
        depth, lines = (each[top : top + height, left : left + width] for each in (seen.depth, seen.lines))
        if (lines > 0).mean() >= _FEWEST_LINES:
            scenes.append((depth, lines))
    return scenes


def measure(bench: Bench) -> list[Score]:
    """Of each style on the same scenes, and their mean."""
    count = bench.wanted.count
    if count < 2:
        raise TrainingError("The depth skill compares pictures with each other: it needs two at least.")
    scenes = known_scenes(count, bench.painter.size)
    shown = [cv2.cvtColor(depth, cv2.COLOR_GRAY2RGB) for depth, _ in scenes]
    given = {str(place): lines for place, (_, lines) in enumerate(scenes)}
    found = []
    for label, prompt in bench.named_styles().items():
        asked = [
            each.replace(depth_estimator="given")
            for each in bench.settings([prompt] * count, "depth", init_strength=0.0)
        ]
        painted = dict(zip(given, bench.painter.paint(shown, asked), strict=True))
        skill = edge_skill(given, painted)
        found.append(Score(metric="depth-skill", value=skill, better="higher", part=label, about=label))
    about = f"mean of {len(found)} styles, {count} rendered scenes"
    mean = float(np.mean([score.value for score in found]))
    return [*found, Score(metric="depth-skill", value=mean, better="higher", about=about)]
