"""How the conditioning scale works: whether pictures follow the map more and more, and change evenly on the way.

``strength-skill``: edge skill (``evaluation.edges``) at each strength, the mean over styles, at most 1.
``strength-loss``: the most skill that is lost anywhere by going one step up; 0 is best, where it only rises.
``strength-step``: mean absolute difference between pictures of neighbouring strengths, grey levels, the mean over the
steps. ``strength-evenness``: the largest of the steps against that mean, 1 at best.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.training.evaluation.bench import Bench
from pipelines.training.evaluation.edges import edge_skill, edges_of
from pipelines.training.evaluation.score import Score

Picture = NDArray[np.uint8]
STRENGTHS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def measure(bench: Bench) -> list[Score]:
    """Of each style on the same pictures and seeds."""
    given = {str(place): edges_of(picture) for place, picture in enumerate(bench.pictures)}
    skills, steps = [], []
    for prompt in bench.named_styles().values():
        painted = {}
        for strength in STRENGTHS:
            settings = bench.settings([prompt] * len(given), bench.control, strength=strength)
            painted[strength] = bench.painter.paint(bench.pictures, settings)
        skills.append([edge_skill(given, dict(zip(given, each, strict=True))) for each in painted.values()])
        steps.append(differences(painted))
    about = f"{bench.control}, mean of {len(skills)} styles, {len(given)} pictures"
    return scores(np.mean(skills, 0), np.mean(steps, 0), about=about)


def differences(painted: Mapping[float, Sequence[Picture]]) -> list[float]:
    """Mean absolute difference between the pictures of each strength and the next, grey levels."""
    stacked = [np.stack(each).astype(np.float32) for each in painted.values()]
    return [float(np.abs(one - other).mean()) for one, other in itertools.pairwise(stacked)]


def scores(skills: NDArray[np.float64], steps: NDArray[np.float64], *, about: str) -> list[Score]:
    """As lines of the table: the skill at each of ``STRENGTHS``, and the ``steps`` between them."""
    lines = [
        Score(
            metric="strength-skill",
            value=float(skill),
            better="higher",
            part=f"{strength:g}",
            about=f"{strength:g}, {about}",
        )
        for strength, skill in zip(STRENGTHS, skills, strict=True)
    ]
    loss = max(0.0, float((skills[:-1] - skills[1:]).max()))
    mean = float(steps.mean())
    evenness = float(steps.max()) / mean if mean else float(len(steps))
    widest = int(steps.argmax())
    where = f"largest step {STRENGTHS[widest]:g} to {STRENGTHS[widest + 1]:g}"
    return [
        *lines,
        Score(metric="strength-loss", value=loss, better="lower", about=about),
        Score(metric="strength-step", value=mean, better="higher", about=about),
        Score(metric="strength-evenness", value=evenness, better="lower", about=where),
    ]
