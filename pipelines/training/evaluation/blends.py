"""How far blends of two styles keep to the map: whether on the way their lines go together or cancel each other out.

``blend-skill``: edge skill (``evaluation.edges``) of pictures on the way from one prompt to another, a sixth at a time,
the mean over all pairs of styles, at most 1. Its part ``worst`` is the one place, of all pairs, that keeps the least.
"""

from __future__ import annotations

import itertools

import numpy as np

from pipelines.errors import TrainingError
from pipelines.training.evaluation.bench import Bench
from pipelines.training.evaluation.edges import edge_skill, edges_of
from pipelines.training.evaluation.score import Score

SIXTHS = range(1, 6)


def measure(bench: Bench) -> list[Score]:
    """Of each two styles on the same pictures and seeds. Raises TrainingError for fewer than two of either."""
    styles = bench.named_styles()
    if len(styles) < 2 or len(bench.pictures) < 2:
        raise TrainingError("Blends are of two styles, on pictures that are compared: give two at least of each.")
    given = {str(place): edges_of(picture) for place, picture in enumerate(bench.pictures)}
    skills = {}
    for (one, other), sixth in itertools.product(itertools.combinations(styles, 2), SIXTHS):
        settings = bench.settings([styles[one]] * len(given), bench.control)
        between = [each.replace(prompt_b=styles[other], blend=sixth / 6) for each in settings]
        painted = bench.painter.paint(bench.pictures, between)
        skills[one, other, sixth] = edge_skill(given, dict(zip(given, painted, strict=True)))
    worst, pairs = min(skills, key=lambda place: skills[place]), len(skills) // len(SIXTHS)
    found = {
        "": (float(np.mean(list(skills.values()))), f"{bench.control}, {pairs} pairs, {len(given)} pictures"),
        "worst": (skills[worst], f"worst: {worst[2]}/6 from {worst[0]} to {worst[1]}"),
    }
    return [
        Score(metric="blend-skill", value=value, better="higher", part=part, about=about)
        for part, (value, about) in found.items()
    ]
