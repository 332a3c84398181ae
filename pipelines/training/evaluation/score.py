"""One line of what ``sdxs-live eval`` finds."""

from __future__ import annotations

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True, kw_only=True)
class Score:
    """``metric``: its name on the command line. ``value``: the number, ``spread`` its standard deviation where it has
    one. ``about``: what of (a style, the number of pictures, the features)."""

    metric: str
    value: float
    better: Literal["higher", "lower"]
    about: str = ""
    spread: float | None = None
