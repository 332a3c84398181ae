"""Effort: how much is spent on each picture of a session, from everything in full down a ladder of savings."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

#: The latest that a slow map is asked for, in pictures: as ``Settings.depth_every``.
SLOWEST_MAPS = 60

Size = tuple[int, int]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Effort:
    """``size``: (height, width) that pictures are painted at. ``maps``: slow ones are asked for so many times as rarely.

    ``every``: of so many pictures that come one is painted. ``doing``: the last saving in words.
    """

    size: Size
    maps: int = 1
    every: int = 1
    doing: str = "painting everything in full"

    def depth_every(self, wanted: int) -> int:
        """At every how manieth picture a slow map is due."""
        return min(SLOWEST_MAPS, max(wanted, wanted * self.maps))


def ladder(sizes: Sequence[Size], *, slow_maps: bool, camera: bool) -> list[Effort]:
    """All efforts from full to least; each saves what those before it save, and one thing more.

    ``sizes``: (height, width) the model paints at, the full one first. ``slow_maps``: whether a network draws one here.
    ``camera``: whether pictures may be left out, as others follow.
    """
    steps = [Effort(size=sizes[0])]

    def save(doing: str, **what: object) -> None:
        steps.append(dataclasses.replace(steps[-1], doing=doing, **what))

    if slow_maps:
        save("drawing maps half as often", maps=2)
    for size in sizes[1:3]:
        save(f"painting at {in_words(size, sizes[0])}", size=size)
    if camera:
        save("painting every second picture", every=2)
        save("painting every third picture", every=3)
    return steps


def in_words(size: Size, full: Size) -> str:
    """``half size`` where the sides are halves, otherwise width × height."""
    names = {0.5: "half size", 0.75: "three-quarter size", 0.25: "quarter size"}
    shares = {size[0] / full[0], size[1] / full[1]}
    name = names.get(shares.pop()) if len(shares) == 1 else None
    return name or f"{size[1]}×{size[0]}"
