"""The engine on a real CUDA device: three streams, pinned memory, events."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from pipelines.settings import Settings
from realtime.engine import Engine
from tests.realtime.fakes import NumberPainter

SIZE = (512, 512)

pytestmark = pytest.mark.gpu


class BusyPainter(NumberPainter):
    """Multiplies for a while before it reads its maps, so that an upload or download that doesn't wait is seen."""

    def __init__(self) -> None:
        super().__init__(size=SIZE)
        self.device = torch.device("cuda")
        self._work = torch.rand(4096, 4096, device=self.device)

    def paint_uint8(self, maps: torch.Tensor, settings: Sequence[Settings]) -> torch.Tensor:
        for _ in range(3):
            self._work = (self._work @ self._work).clamp_(0, 1)
        nothing = (self._work[0, 0] * 0).to(torch.uint8)
        seeds = torch.tensor([each.seed % 256 for each in settings], dtype=torch.uint8, device=self.device)
        return torch.stack([maps + nothing, seeds.view(-1, 1, 1).expand_as(maps), maps], dim=-1)


def test_no_picture_is_torn_or_stale() -> None:
    engine = Engine(BusyPainter(), max_batch=4)
    assert engine.depth == 2
    rng = random.Random(0)
    kept: list[tuple[list[np.ndarray], list[int]]] = []
    waiting = None
    number = 0
    for _ in range(100):
        numbers = list(range(number, number := number + rng.randint(1, 4)))
        maps = [np.full(SIZE, each % 256, np.uint8) for each in numbers]
        slot = engine.begin(maps, [Settings(seed=each * 7) for each in numbers])
        if waiting:
            kept.append((engine.finish(waiting[0]).pictures, waiting[1]))
        waiting = (slot, numbers)
    for pictures, numbers in kept:
        for picture, each in zip(pictures, numbers, strict=True):
            assert np.unique(picture[..., 0]).tolist() == [each % 256]
            assert np.unique(picture[..., 1]).tolist() == [each * 7 % 256]


def test_the_model_s_time_is_the_device_s() -> None:
    engine = Engine(BusyPainter())
    engine.warm_up(Settings())
    assert engine.finish(engine.begin([np.zeros(SIZE, np.uint8)], [Settings()])).model_ms > 0.1
