"""Texts that are made when asked for: there may be millions, and a step looks at few."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import overload


class Lazy(Sequence[str]):
    """``count`` texts; ``of`` makes the one at an index."""

    def __init__(self, count: int, of: Callable[[int], str]) -> None:
        self._count, self._of = count, of

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self._of(each) for each in range(*index.indices(self._count))]
        if not -self._count <= index < self._count:
            raise IndexError(f"{index} of {self._count}")
        return self._of(index % self._count)
