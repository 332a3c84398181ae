"""Keeps a session at full speed: when a painted frame has been delivered, the next one is pushed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from streaming.frame import Frame
from streaming.service import LiveSession

#: Before a push: long enough for the one before it to be on its way, and for the model to take the frame that waits.
PAUSE_SECONDS = 0.001
#: So often it is looked after frames that were dropped, and whose place is free again: asking costs a little.
LOOK_SECONDS = 0.05


class Feeder:
    """``outstanding``: so many frames are in the loop at once, so that the model always finds the next one waiting."""

    def __init__(self, session: LiveSession, images: Sequence[NDArray[np.uint8]], *, outstanding: int) -> None:
        self._session = session
        self._images = images
        self._outstanding = outstanding
        self._pushed = self._painted = self._dropped = 0
        self._until = 0
        self._done = asyncio.Event()
        session.subscribe(self._on_painted)

    async def block(self, count: int) -> float:
        """Milliseconds a frame, from the first push to the last delivery of ``count`` frames."""
        self._done.clear()
        self._until = self._painted + count
        start = time.perf_counter()
        while not self._done.is_set():
            self._dropped = self._session.status()["frames_dropped"]
            self._top_up()
            try:
                await asyncio.wait_for(self._done.wait(), LOOK_SECONDS)
            except asyncio.TimeoutError:
                continue
        return (time.perf_counter() - start) * 1000 / count

    def _on_painted(self, _: Frame) -> None:
        self._painted += 1
        if self._painted >= self._until:
            self._done.set()
        else:
            self._top_up_soon()

    def _top_up_soon(self) -> None:
        asyncio.get_running_loop().call_later(PAUSE_SECONDS, self._top_up)

    def _top_up(self) -> None:
        """One at a time: two at once would meet in the session's inbox, where the newer one wins.

        Never more than the block still needs: nothing may be left running while something else is timed.
        """
        waiting = self._pushed - self._painted - self._dropped
        wanted = min(self._outstanding, self._until - self._painted) - waiting
        if wanted <= 0:
            return
        image = self._images[self._pushed % len(self._images)]
        self._session.push(Frame(image=image, seq=self._pushed, pts=self._pushed * 3000))
        self._pushed += 1
        if wanted > 1:
            self._top_up_soon()
