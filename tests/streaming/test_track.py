"""Tracks: newest wins at both ends, drops are counted, time only rises."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import av
import numpy as np
import pytest
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from streaming.frame import VIDEO_TIME_BASE, Frame
from streaming.track import IncomingVideo, OutgoingVideo
from tests.webrtc import eventually


def frame(seq: int, *, pts: int | None = None) -> Frame:
    image = np.full((32, 32, 3), seq, np.uint8)
    return Frame(image=image, seq=seq, pts=seq if pts is None else pts, time_base=Fraction(1, 30))


class TestOutgoing:
    async def test_the_newest_is_sent_and_the_others_are_counted(self) -> None:
        track = OutgoingVideo()
        for seq in range(5):
            track.offer(frame(seq))
        picture = await track.recv()
        assert picture.to_ndarray(format="rgb24")[0, 0, 0] == 4
        assert (track.sent, track.dropped) == (1, 4)

    async def test_it_waits_for_the_next(self) -> None:
        track = OutgoingVideo()
        track.offer(frame(1))
        await track.recv()
        waiting = asyncio.ensure_future(track.recv())
        await asyncio.sleep(0)
        assert not waiting.done()
        track.offer(frame(2))
        assert (await waiting).to_ndarray(format="rgb24")[0, 0, 0] == 2

    async def test_time_rises_whatever_the_source_says(self) -> None:
        track = OutgoingVideo()
        times = []
        for pts in (100, 50, 50, 0, 10_000_000):
            track.offer(frame(1, pts=pts))
            picture = await track.recv()
            assert picture.time_base == VIDEO_TIME_BASE
            times.append(picture.pts)
        assert times == sorted(set(times))
        assert times[-1] < 90_000, "it is the time of the offers, all within a second"

    async def test_odd_sizes(self) -> None:
        track = OutgoingVideo()
        track.offer(Frame(image=np.zeros((33, 47, 3), np.uint8), seq=0, pts=0))
        picture = await track.recv()
        assert (picture.height, picture.width) == (32, 46)

    async def test_stopping_ends_a_waiting_recv(self) -> None:
        track = OutgoingVideo()
        waiting = asyncio.ensure_future(track.recv())
        await asyncio.sleep(0)
        track.stop()
        track.stop()
        with pytest.raises(MediaStreamError):
            await waiting
        track.offer(frame(1))
        with pytest.raises(MediaStreamError):
            await track.recv()


class GivenPictures(MediaStreamTrack):
    """A track that gives what is put into it; None ends it."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self.pictures: asyncio.Queue[av.VideoFrame | None] = asyncio.Queue()

    async def recv(self) -> av.VideoFrame:
        picture = await self.pictures.get()
        if picture is None:
            raise MediaStreamError
        return picture

    def give(self, n: int) -> None:
        picture = frame(n).to_video_frame("rgb24")
        self.pictures.put_nowait(picture)


@pytest.fixture
def pool() -> ThreadPoolExecutor:
    with ThreadPoolExecutor(max_workers=2) as pool:
        yield pool


class TestIncoming:
    async def incoming(
        self, pool: ThreadPoolExecutor, deliver: Callable[[Frame], None]
    ) -> tuple[GivenPictures, IncomingVideo, asyncio.Task[None]]:
        track = GivenPictures()
        incoming = IncomingVideo(track, deliver, pool)
        return track, incoming, asyncio.ensure_future(incoming.run())

    async def test_pictures_are_delivered_in_order_off_the_event_loop(self, pool: ThreadPoolExecutor) -> None:
        got: list[tuple[int, int, str]] = []
        track, incoming, running = await self.incoming(
            pool, lambda f: got.append((f.seq, int(f.image[0, 0, 0]), threading.current_thread().name))
        )
        for n in range(5):
            track.give(n)
            await eventually(lambda n=n: len(got) == n + 1, f"picture {n} is delivered")
        assert [(seq, value) for seq, value, _ in got] == [(n, n) for n in range(5)]
        assert all(thread != threading.main_thread().name for *_, thread in got)
        assert (incoming.received, incoming.dropped) == (5, 0)
        track.pictures.put_nowait(None)
        await running

    async def test_while_one_is_converted_only_the_newest_waits(self, pool: ThreadPoolExecutor) -> None:
        got: list[int] = []
        go_on = threading.Event()

        def slow(frame: Frame) -> None:
            go_on.wait()
            got.append(frame.seq)

        track, incoming, running = await self.incoming(pool, slow)
        for n in range(10):
            track.give(n)
        await eventually(lambda: incoming.received == 10, "all are taken off the track at once")
        go_on.set()
        await eventually(lambda: len(got) == 2, "two are delivered")
        assert got == [0, 9]
        assert incoming.dropped == 8
        running.cancel()

    async def test_after_the_end_nothing_is_delivered(self, pool: ThreadPoolExecutor) -> None:
        got: list[int] = []
        go_on = threading.Event()

        def slow(frame: Frame) -> None:
            got.append(frame.seq)
            go_on.wait()

        track, incoming, running = await self.incoming(pool, slow)
        for n in range(3):
            track.give(n)
        await eventually(lambda: incoming.received == 3 and got, "the first is being delivered")
        track.pictures.put_nowait(None)
        await running
        go_on.set()
        pool.shutdown()
        assert got == [0]

    async def test_what_deliver_raises_ends_it(self, pool: ThreadPoolExecutor) -> None:
        def broken(frame: Frame) -> None:
            raise RuntimeError("no")

        track, _, running = await self.incoming(pool, broken)
        track.give(1)
        with pytest.raises(RuntimeError, match="no"):
            await running
