"""Variety: how far pictures of different seeds are apart, all else being equal.

``seed-ssim``: structural similarity (Wang et al., 2004) of two seeds' pictures of the same photograph, style and
strength, the mean over all pairs of seeds, photographs and styles; −1 to 1, lower is more variety, 1 where the seed
does nothing. ``seed-difference``: their mean absolute difference, 0 to 255 grey levels, higher is more variety. Once
with the control and once from text alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.errors import TrainingError
from pipelines.training.evaluation.bench import Bench
from pipelines.training.evaluation.features import batches
from pipelines.training.evaluation.score import Score
from pipelines.training.losses.ssim import ssim

Picture = NDArray[np.uint8]


def measure(bench: Bench) -> list[Score]:
    """Both numbers, with the control and without. Raises TrainingError for fewer than two seeds."""
    if bench.wanted.seeds < 2:
        raise TrainingError("Seeds are compared with each other: give --seeds 2 at least.")
    strength = f"{bench.control} {bench.wanted.strength:g}"
    about = f"{strength}, {len(bench.pictures)} pictures"
    found = _scores(_sets(bench, bench.control), bench, part="", about=about)
    return found + _scores(_sets(bench, "none"), bench, part="text", about="text alone")


def alike(pictures: Sequence[Picture]) -> tuple[float, float]:
    """Mean SSIM and mean absolute difference over all pairs of uint8 H×W×3 pictures, two at least."""
    first, second = zip(*itertools.combinations(pictures, 2), strict=True)
    similar, apart = [], []
    for one, other in zip(batches(first), batches(second), strict=True):
        similar.append(ssim(one.float(), other.float(), dynamic_range=255))
        apart.append((one.float() - other.float()).abs().mean((1, 2, 3)))
    return float(torch.cat(similar).mean()), float(torch.cat(apart).mean())


def _sets(bench: Bench, control: str) -> dict[str, list[list[Picture]]]:
    """By style: for each photograph the pictures of all seeds; without a control there is one set."""
    shown: Sequence[Picture | None] = bench.pictures if control != "none" else [None]
    seeds = range(bench.wanted.seed, bench.wanted.seed + bench.wanted.seeds)
    found = {}
    for name, prompt in bench.named_styles().items():
        changes = {"init_strength": bench.wanted.init_strength if control != "none" else 0.0}
        settings = [bench.settings([prompt], control, seed=seed, **changes)[0] for seed in seeds]
        found[name] = [bench.painter.paint([each] * len(settings), settings) for each in shown]
    return found


def _scores(sets: dict[str, list[list[Picture]]], bench: Bench, *, part: str, about: str) -> list[Score]:
    by_style = {name: np.mean([alike(pictures) for pictures in each], 0) for name, each in sets.items()}
    similar, apart = np.mean(list(by_style.values()), 0)
    least = max(by_style, key=lambda name: float(by_style[name][0]))
    about = f"{about}, {bench.wanted.seeds} seeds, mean of {len(sets)} styles"
    worst = f"; least variety: {least} {by_style[least][0]:.2f}" if len(sets) > 1 else ""
    return [
        Score(metric="seed-ssim", value=float(similar), better="lower", part=part, about=about + worst),
        Score(metric="seed-difference", value=float(apart), better="higher", part=part, about=about),
    ]
