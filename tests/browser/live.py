"""The real server in this process, so that a test can slow its model and watch its sessions."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import torch
from aiohttp import web

from pipelines import SDXSPipeline, Settings
from pipelines.frame_graph import Form
from realtime.config import make
from realtime.hub import Hub
from realtime.serve import HUB, build


class SlowPipeline:
    """The real pipeline with a model that takes at least ``seconds`` a call."""

    def __init__(self, pipe: SDXSPipeline, seconds: float) -> None:
        self._pipe = pipe
        self._seconds = seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pipe, name)

    def paint_uint8(
        self,
        maps: torch.Tensor,
        settings: Sequence[Settings],
        colours: torch.Tensor | None = None,
        *,
        form: Form = "rgb",
    ) -> torch.Tensor:
        end = time.monotonic() + self._seconds
        painted = self._pipe.paint_uint8(maps, settings, colours=colours, form=form)
        time.sleep(max(0.0, end - time.monotonic()))  # the slow model's work
        return painted


@asynccontextmanager
async def live_server(pipeline: Any, **options: Any) -> AsyncIterator[tuple[str, Hub]]:
    """(address, hub) of a warm server on a free port of the loopback."""
    app = build(make(port=0, **options), pipeline)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        await app[HUB].wait_ready()
        port = runner.addresses[0][1]
        yield f"http://localhost:{port}", app[HUB]
    finally:
        await runner.cleanup()
