"""Chance that belongs to the sample: what one draws depends on (seed, step, its place in the batch) and nothing else.

So a resumed run, two processes, and a batch gone through in pieces all give the numbers of one unbroken process.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


class Dice:
    """The draws of some samples of one step. ``places``: which samples of the whole batch these are.

    The order of the draws counts: the n-th draw of a sample is the same in every division of the batch. ``turn`` tells
    the players of one step apart.
    """

    def __init__(self, seed: int, step: int, places: Sequence[int], *, turn: int = 0, device: str = "cpu") -> None:
        self.step, self.device = step, torch.device(device)
        words = (np.random.SeedSequence((seed, step, turn, place)).generate_state(2, np.uint32) for place in places)
        self._generators = [torch.Generator().manual_seed(int(low) + (int(high) << 31)) for low, high in words]

    def __len__(self) -> int:
        return len(self._generators)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal, B×shape."""
        return self._stack([torch.randn(shape, generator=each) for each in self._generators])

    def uniform(self, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Uniform in [low, high), B."""
        drawn = self._stack([torch.rand((), generator=each) for each in self._generators])
        return low + (high - low) * drawn

    def integers(self, low: int, high: int) -> Tensor:
        """Whole numbers of [low, high), B, int64."""
        return self._stack([torch.randint(low, high, (), generator=each) for each in self._generators])

    def _stack(self, drawn: list[Tensor]) -> Tensor:
        return torch.stack(drawn).to(self.device)
