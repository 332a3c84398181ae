"""The two ends of a video track, each with a slot of one picture: the newest wins, and drops are counted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor

import av
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from streaming.frame import VIDEO_TIME_BASE, Frame


class OutgoingVideo(MediaStreamTrack):
    """A video track fed with ``offer``: the sender takes the newest frame when it is ready for one.

    Its pts are the moments of the offers on the 90 kHz clock (RFC 3551), strictly rising. Of the source's own pts the
    receiver would see the painting time as network jitter and hold every picture back for it.
    """

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self._slot: Frame | None = None
        self._pts = 0
        self._offered_at = 0
        self._start_ns = time.monotonic_ns()
        self._ready = asyncio.Event()
        #: Frames given to the encoder, and frames that a newer one replaced before it came to that.
        self.sent = 0
        self.dropped = 0

    def offer(self, frame: Frame) -> None:
        """Put a frame into the slot; one that still waits there is dropped. Call it on the event loop."""
        if self.readyState != "live":
            return
        if self._slot is not None:
            self.dropped += 1
        self._slot = frame
        self._offered_at = (time.monotonic_ns() - self._start_ns) * 9 // 100_000
        self._ready.set()

    async def recv(self) -> av.VideoFrame:
        """The newest frame as it is; an encoder converts in its own thread. Raises MediaStreamError once stopped."""
        await self._ready.wait()
        if self.readyState != "live" or self._slot is None:
            raise MediaStreamError
        frame, self._slot = self._slot, None
        self._ready.clear()
        self._pts = max(self._offered_at, self._pts + 1)
        self.sent += 1
        picture = frame.to_video_frame(frame.format)
        picture.pts, picture.time_base = self._pts, VIDEO_TIME_BASE
        return picture

    def stop(self) -> None:
        super().stop()
        self._slot = None
        self._ready.set()


class IncomingVideo:
    """Takes every picture off a track at once, converts it to RGB in ``pool`` and hands it to ``deliver`` there.

    aiortc's queues are unbounded, so ``run`` never waits for anything but the next picture. While a conversion is in
    flight only the newest picture waits for it. ``Frame.seq`` counts every picture that came, dropped ones too.
    """

    def __init__(self, track: MediaStreamTrack, deliver: Callable[[Frame], None], pool: Executor) -> None:
        self._track = track
        self._deliver = deliver
        self._pool = pool
        self._waiting: tuple[av.VideoFrame, int, int] | None = None
        self._converting = False
        self._closed = False
        self._task: asyncio.Task[None] | None = None
        self._error: BaseException | None = None
        self.received = 0
        self.dropped = 0
        #: ``time.monotonic()`` when the last picture came.
        self.last_at = time.monotonic()

    async def run(self) -> None:
        """Until the track ends, or the task is cancelled. Raises what ``deliver`` raises."""
        loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        try:
            while True:
                picture = await self._track.recv()
                self.last_at = time.monotonic()
                if self._waiting is not None:
                    self.dropped += 1
                self._waiting = (picture, self.received, time.monotonic_ns())
                self.received += 1
                if not self._converting:
                    self._convert(loop)
        except MediaStreamError:
            return
        except asyncio.CancelledError:
            if self._error is not None:
                raise self._error from None
            raise
        finally:
            self._closed = True
            self._waiting = None

    def _convert(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._waiting is None or self._closed:
            return
        picture, seq, captured_ns = self._waiting
        self._waiting, self._converting = None, True
        future = loop.run_in_executor(self._pool, self._convert_one, picture, seq, captured_ns)
        future.add_done_callback(lambda done: self._converted(loop, done))

    def _convert_one(self, picture: av.VideoFrame, seq: int, captured_ns: int) -> None:
        frame = Frame.from_video_frame(picture, seq=seq, captured_ns=captured_ns)
        if not self._closed:
            self._deliver(frame)

    def _converted(self, loop: asyncio.AbstractEventLoop, done: asyncio.Future[None]) -> None:
        self._converting = False
        if not done.cancelled() and (error := done.exception()) is not None and self._task is not None:
            self._error = error
            self._task.cancel()
        else:
            self._convert(loop)
