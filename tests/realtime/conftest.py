from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest_asyncio

from realtime.hub import Hub
from tests.realtime.fakes import NumberPainter, model_of

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
