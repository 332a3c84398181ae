"""Publish, be painted, play: real peers on this machine's own interface."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from streaming.server import make_app
from tests.streaming.fakes import FakeHub
from tests.webrtc import Publisher, Viewer, serve


@pytest.mark.parametrize("codec", ["VP8", "H264"])
async def test_painted_frames_come_back_in_order_and_new(codec: str) -> None:
    hub = FakeHub()
    async with (
        serve(make_app(hub)) as server,
        await Publisher.start(server, "me", codec=codec) as publisher,
        await Viewer.start(server, "me", codec=codec) as viewer,
    ):
        assert publisher.codec == viewer.codec == codec
        seen = await viewer.see(40)
        stamps = [each.stamp for each in seen]
        assert all(stamps), f"{stamps.count(None)} of 40 stamps can't be read"
        counters = [each.counter for each in stamps if each is not None]
        assert all(a < b for a, b in itertools.pairwise(counters)), counters
        assert all(a.pts < b.pts for a, b in itertools.pairwise(seen))
        frames = hub.live["me"].pushed
        assert all(a.pts < b.pts and a.seq < b.seq for a, b in itertools.pairwise(frames))
        # Painted: where the camera's picture is dark at the left edge, the fake's is bright.
        sent = next(frame for frame in frames if frame.seq > 5).image.astype(int)
        assert np.abs(sent[128:].mean() + seen[-1].image[128:].mean() - 255) < 30
