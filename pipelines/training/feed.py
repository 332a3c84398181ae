"""The samples of each step, by position: the n-th step takes positions n·batch … (n + 1)·batch − 1."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pipelines.training.phase import Batch, Phase


class Feed:
    """One process's part of each batch: ``share`` samples, the ``rank``-th of the step's parts."""

    def __init__(self, phase: Phase, *, share: int, rank: int, first: int, last: int) -> None:
        order = _Order(phase.plan.batch, share, rank, first, last)
        workers = phase.plan.workers
        self._loader: DataLoader[Any] = DataLoader(
            _Samples(phase), batch_sampler=order, num_workers=workers, persistent_workers=False
        )

    def __iter__(self) -> Iterator[Batch]:
        return iter(self._loader)


def piece(batch: Batch, places: slice, device: torch.device) -> dict[str, Any]:
    """Some samples of a batch, its tensors on ``device``."""
    return {
        name: value[places].to(device, non_blocking=True) if isinstance(value, Tensor) else list(value[places])
        for name, value in batch.items()
    }


class _Order:
    """Positions of this process's samples, step by step."""

    def __init__(self, batch: int, share: int, rank: int, first: int, last: int) -> None:
        self._batch, self._share, self._rank, self._steps = batch, share, rank, range(first, last)

    def __iter__(self) -> Iterator[list[int]]:
        for step in self._steps:
            start = step * self._batch + self._rank * self._share
            yield list(range(start, start + self._share))

    def __len__(self) -> int:
        return len(self._steps)


class _Samples(Dataset[Mapping[str, Any]]):
    def __init__(self, phase: Phase) -> None:
        self._phase = phase

    def __getitem__(self, position: int) -> Mapping[str, Any]:
        return self._phase.fetch(position)
