"""How far a blend of two styles keeps to the map: whether their lines go together or cancel each other out.

``blend-skill``: edge skill (``evaluation.edges``) of pictures half-way between two prompts, the mean over all pairs of
styles, at most 1. Its part ``worst`` is that of the pair that keeps the least.
"""

from __future__ import annotations

import itertools

import numpy as np

from pipelines.errors import TrainingError
from pipelines.training.evaluation.bench import Bench
from pipelines.training.evaluation.edges import edge_skill, edges_of
from pipelines.training.evaluation.score import Score


def measure(bench: Bench) -> list[Score]:
    """Of each two styles on the same pictures and seeds. Raises TrainingError for fewer than two of either."""
    styles = bench.named_styles()
    if len(styles) < 2 or len(bench.pictures) < 2:
        raise TrainingError("Blends are of two styles, on pictures that are compared: give two at least of each.")
    given = {str(place): edges_of(picture) for place, picture in enumerate(bench.pictures)}
    skills = {}
    for one, other in itertools.combinations(styles, 2):
        settings = bench.settings([styles[one]] * len(given), bench.control)
        halfway = [each.replace(prompt_b=styles[other], blend=0.5) for each in settings]
        painted = bench.painter.paint(bench.pictures, halfway)
        skills[one, other] = edge_skill(given, dict(zip(given, painted, strict=True)))
    about = f"{bench.control}, half-way between two styles, {len(skills)} pairs, {len(given)} pictures"
    mean, worst = float(np.mean(list(skills.values()))), min(skills, key=lambda pair: skills[pair])
    return [
        Score(metric="blend-skill", value=mean, better="higher", about=about),
        Score(
            metric="blend-skill",
            value=skills[worst],
            better="higher",
            part="worst",
            about=f"worst: {worst[0]} and {worst[1]}",
        ),
    ]
