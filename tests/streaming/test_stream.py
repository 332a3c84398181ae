"""Publish, be painted, play: real peers on this machine's own interface."""

from __future__ import annotations

import contextlib
import itertools
import random
import time
from collections.abc import Callable

import av
import numpy as np
import pytest

from streaming import encoder, stamp
from streaming.peer import Viewer as PeerViewer
from streaming.server import CONNECTIONS, make_app
from tests.streaming.fakes import FakeHub
from tests.webrtc import Publisher, Viewer, eventually, serve


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


@pytest.mark.parametrize("codec", ["VP8", "H264"])
async def test_pictures_keep_coming_over_a_line_that_loses_packets(codec: str) -> None:
    hub = FakeHub()
    async with serve(make_app(hub)) as server, await Publisher.start(server, "me", codec=codec) as publisher:
        session = hub.live["me"]
        await eventually(lambda: len(session.pushed) > 5, "the first pictures")
        lost = lose(publisher, share=0.05)
        start = len(session.pushed)
        await eventually(lambda: len(session.pushed) > start + 120, "120 pictures over the bad line", deadline=30)
        assert lost(), "the line was bad"
        stamps = [stamp.read(frame.image) for frame in session.pushed[start:]]
        assert all(stamps), "nothing broken is painted"
        counters = [each.counter for each in stamps if each is not None]
        assert all(a < b for a, b in itertools.pairwise(counters))


def lose(publisher: Publisher, *, share: float) -> Callable[[], int]:
    """Drop that share of what the publisher sends, retransmissions and reports too; returns the count of losses."""
    transport = next(t for t in publisher.connection.getTransceivers() if t.kind == "video").sender.transport.transport
    send = transport._send
    chance = random.Random(5)
    lost = 0

    async def lossy(data: bytes) -> None:
        nonlocal lost
        if 127 < data[0] < 192 and chance.random() < share:  # RTP and RTCP (RFC 7983)
            lost += 1
        else:
            await send(data)

    transport._send = lossy
    return lambda: lost


async def test_a_slow_encoder_makes_fewer_pictures_not_older_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    class SlowEncoder(encoder.LiveVp8Encoder):
        def encode(self, frame: av.VideoFrame, force_keyframe: bool = False) -> tuple[list[bytes], int]:
            time.sleep(0.15)
            return super().encode(frame, force_keyframe)

    hub = FakeHub()
    app = make_app(hub)
    async with serve(app) as server, await Publisher.start(server, "me", codec="H264"):
        monkeypatch.setattr(encoder, "LiveVp8Encoder", SlowEncoder)
        async with await Viewer.start(server, "me", codec="VP8") as viewer:
            seen = await viewer.see(25)
            outgoing = next(peer for peer in app[CONNECTIONS].all() if isinstance(peer, PeerViewer)).outgoing
            assert outgoing.dropped > outgoing.sent
            ages = [each.age_ms for each in seen[-10:] if each.age_ms is not None]
            # 25 pictures take 4 s here; in a queue each of the last ten would be over 2 s old.
            assert min(ages) < 1500, f"no queue grows: {ages}"


async def test_three_sessions_see_only_their_own_pictures() -> None:
    hub = FakeHub()
    sizes = {"a": (128, 128), "b": (192, 192), "c": (128, 256)}
    async with serve(make_app(hub)) as server, contextlib.AsyncExitStack() as stack:
        viewers = {}
        for name, size in sizes.items():
            await stack.enter_async_context(await Publisher.start(server, name, size=size, fps=15))
            viewers[name] = await stack.enter_async_context(await Viewer.start(server, name))
        for name, viewer in viewers.items():
            assert {each.image.shape[:2] for each in await viewer.see(8)} == {sizes[name]}
