"""An endless shuffled order in which every position is known without walking there: how a run resumes to the step."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


def index_at(position: int, length: int, seed: int = 0) -> int:
    """Which of ``length`` samples stands at ``position`` (0, 1, 2 …): every epoch is a permutation of its own."""
    epoch, place = divmod(position, length)
    return int(_permutation(epoch, length, seed)[place])


@lru_cache(maxsize=8)  # an epoch is asked for many times in turn; a few data sets may take turns
def _permutation(epoch: int, length: int, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng((seed, epoch)).permutation(length)
