"""One line of what ``sdxs-live eval`` finds."""

from __future__ import annotations

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True, kw_only=True)
class Score:
    """``metric``: its name on the command line. ``value``: the number, ``spread`` its standard deviation where it has
    one. ``part``: which of the metric's lines it is, for programs: a style, a strength, a clip; empty for the whole.
    ``about``: what of, in words (a style, the number of pictures, the features)."""

    metric: str
    value: float
    better: Literal["higher", "lower"]
    part: str = ""
    about: str = ""
    spread: float | None = None
