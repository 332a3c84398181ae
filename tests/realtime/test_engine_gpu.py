"""The engine on a real CUDA device: three streams, pinned memory, events."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from pipelines.frame_graph import Form
from pipelines.settings import Kind, Settings
from realtime.engine import Engine
from tests.realtime.fakes import NumberPainter

SIZE = (512, 512)

pytestmark = pytest.mark.gpu


class BusyPainter(NumberPainter):
    """Multiplies for a while before it reads its maps, so that an upload or download that doesn't wait is seen."""

    def __init__(self) -> None:
        super().__init__(size=SIZE, controls=("canny", "depth"))
        self.device = torch.device("cuda")
        self._work = torch.rand(4096, 4096, device=self.device)

    def paint_uint8(
        self,
        maps: torch.Tensor,
        settings: Sequence[Settings],
        colours: torch.Tensor | None = None,
        *,
        form: Form = "rgb",
    ) -> torch.Tensor:
        for _ in range(3):
            self._work = (self._work @ self._work).clamp_(0, 1)
        nothing = (self._work[0, 0] * 0).to(torch.uint8)
        seeds = torch.tensor([each.seed % 256 for each in settings], dtype=torch.uint8, device=self.device)
        first = maps[:, 0] + nothing
        last = maps[:, -1] if colours is None else colours[:, :1, :1, 0].expand_as(first)
        return torch.stack([first, seeds.view(-1, 1, 1).expand_as(first), last], dim=-1)


def test_no_picture_is_torn_or_stale() -> None:
    """Batches of one and two maps, with colours and without, in turn over the same buffers."""
    engine = Engine(BusyPainter(), max_batch=4)
    assert engine.depth == 2
    rng = random.Random(0)
    kept: list[tuple[list[np.ndarray], list[int], bool]] = []
    waiting = None
    number = 0
    for _ in range(100):
        numbers = list(range(number, number := number + rng.randint(1, 4)))
        planes, coloured = rng.randint(1, 2), rng.random() < 0.5
        extra: dict[Kind, float] = {"depth": 1.0} if planes == 2 else {}
        maps = [np.full((planes, *SIZE), each % 256, np.uint8) for each in numbers]
        colours = [np.full((128, 128, 3), each * 3 % 256, np.uint8) if coloured else None for each in numbers]
        slot = engine.begin(maps, [Settings(seed=each * 7, extra_controls=extra) for each in numbers], colours)
        if waiting:
            kept.append((engine.finish(waiting[0]).pictures, *waiting[1:]))
        waiting = (slot, numbers, coloured)
    for pictures, numbers, coloured in kept:
        for picture, each in zip(pictures, numbers, strict=True):
            assert np.unique(picture[..., 0]).tolist() == [each % 256]
            assert np.unique(picture[..., 1]).tolist() == [each * 7 % 256]
            assert np.unique(picture[..., 2]).tolist() == [each * 3 % 256 if coloured else each % 256]


def test_the_model_s_time_is_the_device_s() -> None:
    engine = Engine(BusyPainter())
    engine.warm_up(Settings())
    assert engine.finish(engine.begin([np.zeros((1, *SIZE), np.uint8)], [Settings()])).model_ms > 0.1
