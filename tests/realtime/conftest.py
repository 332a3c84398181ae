from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest_asyncio
import torch

from realtime.hub import Hub
from tests.realtime.fakes import NumberPainter, model_of

# Tiny models gain nothing from a second thread, and two that wait for each other on a busy machine lose much.
os.environ.setdefault("OMP_NUM_THREADS", "1")  # for the processes that tests start
torch.set_num_threads(1)

MakeHub = Callable[..., Awaitable[Hub]]


@pytest_asyncio.fixture
async def make_hub() -> AsyncIterator[MakeHub]:
    """``await make_hub(painter, **options)``: a hub that is ready; closed at the end of the test."""
    hubs: list[Hub] = []

    async def make(painter: NumberPainter | None = None, **options: Any) -> Hub:
        model = model_of(painter or NumberPainter())
        hub = Hub(lambda: model, **options)
        hubs.append(hub)
        hub.start()
        await hub.wait_ready()
        return hub

    yield make
    for hub in hubs:
        assert await hub.aclose()
