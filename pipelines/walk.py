"""Endless mode: which settings a moment of a walk has. Pure: who walks brings the time."""

from __future__ import annotations

import dataclasses
import math

from pipelines.settings import Settings

_SEEDS = 2**32


def walk(settings: Settings, seconds: float) -> Settings:
    """The settings ``seconds`` after the walk began; the same object when there is nothing to walk.

    ``seeds``: from the seed to the next and the next, at a steady pace, ``walk_seconds`` each. ``prompts``: to the
    second prompt and back, slower at the turns; without a second prompt nothing moves.
    """
    legs = max(0.0, seconds) / settings.walk_seconds
    if settings.walk == "seeds":
        leg = math.floor(legs)
        return dataclasses.replace(
            settings,
            seed=(settings.seed + leg) % _SEEDS,
            seed_b=(settings.seed + leg + 1) % _SEEDS,
            seed_blend=legs - leg,
        )
    if settings.walk == "prompts" and settings.prompt_b:
        return dataclasses.replace(settings, blend=0.5 - 0.5 * math.cos(math.pi * legs))
    return settings
