"""Programs that others wrote, against this server."""

from __future__ import annotations

import asyncio
import itertools
import sys
from pathlib import Path

import pytest

from streaming.peer import PeerOptions
from streaming.server import make_app
from tests.streaming.fakes import FakeHub
from tests.webrtc import Viewer, eventually, serve

ROOT = Path(__file__).parents[2]


@pytest.mark.peer
async def test_ffmpeg_publishes_and_is_missed_when_it_dies() -> None:
    hub = FakeHub()
    async with serve(make_app(hub, options=PeerOptions(frame_timeout=2.0))) as server:
        program = [sys.executable, "-m", "tests.streaming.ffmpeg_publisher", f"{server.url}/whip?session=ff"]
        process = await asyncio.create_subprocess_exec(*program, cwd=ROOT)
        try:
            await eventually(lambda: "ff" in hub.live, "FFmpeg has published", deadline=40)
            async with await Viewer.start(server, "ff") as viewer:
                stamps = [each.stamp for each in await viewer.see(20)]
                counters = [each.counter for each in stamps if each is not None]
                assert len(counters) == 20
                assert all(a < b for a, b in itertools.pairwise(counters))
        finally:
            process.kill()
            await process.wait()
        await eventually(lambda: not hub.live, "the session ends")
