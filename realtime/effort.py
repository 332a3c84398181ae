"""Effort: how much is spent on each picture of a session, from everything in full down a ladder of savings."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from pipelines.settings import Settings

#: ``Settings.depth_every`` goes no further.
SLOWEST_MAPS = 60

Size = tuple[int, int]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Effort:
    """``size``: (height, width) that pictures are painted at. ``maps``: slow ones are drawn so many times as rarely.

    ``every``: of so many pictures that come one is painted. ``doing``: the last saving in words.
    """

    size: Size
    maps: int = 1
    every: int = 1
    doing: str = "painting everything in full"

    def apply(self, settings: Settings) -> Settings:
        """The settings that a picture's maps are drawn with."""
        if self.maps == 1:
            return settings
        return dataclasses.replace(settings, depth_every=min(SLOWEST_MAPS, settings.depth_every * self.maps))


def ladder(sizes: Sequence[Size], *, slow_maps: bool, camera: bool) -> list[Effort]:
    """All efforts from full to least; each saves what those before it save, and one thing more.

    ``sizes``: (height, width) the model paints at, the full one first. ``slow_maps``: whether a network draws one here.
    ``camera``: whether pictures may be left out, as others follow.
    """
    savings: list[dict[str, Any]] = []
    if slow_maps:
        savings.append({"maps": 2, "doing": "drawing maps half as often"})
    savings += [{"size": size, "doing": f"painting at {in_words(size, sizes[0])}"} for size in sizes[1:3]]
    if camera:
        savings.append({"every": 2, "doing": "painting every second picture"})
        savings.append({"every": 3, "doing": "painting every third picture"})
    steps = [Effort(size=sizes[0])]
    for saving in savings:
        steps.append(dataclasses.replace(steps[-1], **saving))
    return steps


def in_words(size: Size, full: Size) -> str:
    """``half size`` where the sides are halves, otherwise width × height."""
    names = {0.5: "half size", 0.75: "three-quarter size", 0.25: "quarter size"}
    shares = {size[0] / full[0], size[1] / full[1]}
    name = names.get(shares.pop()) if len(shares) == 1 else None
    return name or f"{size[1]}×{size[0]}"
