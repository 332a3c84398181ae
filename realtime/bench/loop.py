"""What the loop costs: a session at full speed (crop, canny, scheduler, engine, event loop) next to the bare calls."""

from __future__ import annotations

import asyncio
import time

from pipelines import SDXSPipeline, Settings
from realtime.bench.model import painter
from realtime.bench.picture import moving_picture
from realtime.bench.report import Report, Row, percentile
from realtime.hub import Hub
from realtime.model import wrap
from streaming.frame import Frame
from streaming.service import LiveSession

#: Frames in one measured block; blocks of both kinds take turns.
BLOCK = 40
#: Frames in the loop at once: one being painted, one prepared and waiting for it.
OUTSTANDING = 2


def run(*, model: str = "embedded", seconds: float = 20.0) -> Report:
    """Blocks of frames through a session and blocks of bare calls, in turn. Overhead is the ratio of their medians."""
    settings = Settings(prompt="ink drawing", seed=1)
    pipe = SDXSPipeline.from_pretrained(model)
    bare, loop = asyncio.run(_take_turns(pipe, settings, seconds))
    share = percentile(loop, 50) / percentile(bare, 50) - 1
    height, width = pipe.size
    return Report(
        what="loop",
        timed=f"ms a frame, blocks of {BLOCK} frames of {width}×{height}, canny included, backend {pipe.backend_name}",
        rows=[
            Row(name="bare calls, one after the other", milliseconds=bare),
            Row(name="the loop: session, scheduler, engine", milliseconds=loop, note="canny runs beside the model"),
        ],
        figures={"overhead of the loop": f"{share:+.1%}"},
    )


async def _take_turns(pipe: SDXSPipeline, settings: Settings, seconds: float) -> tuple[list[float], list[float]]:
    hub = Hub(lambda: wrap(pipe))
    hub.start()
    await hub.wait_ready()
    session = hub.open("bench")
    session.change(settings.as_dict())
    feeder = _Feeder(session, pipe.size)
    bare: list[float] = []
    loop: list[float] = []
    end = time.monotonic() + seconds
    await feeder.block()
    while time.monotonic() < end or len(bare) < 3:
        bare.append(_bare_block(pipe, settings))
        loop.append(await feeder.block())
    await hub.aclose()
    return bare, loop


def _bare_block(pipe: SDXSPipeline, settings: Settings) -> float:
    paint = painter(pipe, settings)
    images = [moving_picture(i, *pipe.size) for i in range(BLOCK)]
    start = time.perf_counter()
    for image in images:
        paint(image)
    return (time.perf_counter() - start) * 1000 / BLOCK


class _Feeder:
    """Keeps ``OUTSTANDING`` frames in a session, so that the model always finds the next one waiting."""

    def __init__(self, session: LiveSession, size: tuple[int, int]) -> None:
        self._session = session
        self._images = [moving_picture(i, *size) for i in range(BLOCK)]
        self._pushed = 0
        self._painted = 0
        self._until = 0
        self._done = asyncio.Event()
        session.subscribe(self._on_painted)

    async def block(self) -> float:
        """Milliseconds a frame, from the first push to the last delivery of ``BLOCK`` frames."""
        self._done.clear()
        self._until = self._painted + BLOCK
        start = time.perf_counter()
        self._top_up()
        await self._done.wait()
        return (time.perf_counter() - start) * 1000 / BLOCK

    def _on_painted(self, _: Frame) -> None:
        self._painted += 1
        if self._painted >= self._until:
            self._done.set()
        else:
            self._top_up()

    def _top_up(self) -> None:
        """Never more than the block still needs: nothing may be left running while the bare calls are timed."""
        outstanding = self._pushed - self._painted - self._session.status()["frames_dropped"]
        for _ in range(min(OUTSTANDING, self._until - self._painted) - outstanding):
            image = self._images[self._pushed % BLOCK]
            self._session.push(Frame(image=image, seq=self._pushed, pts=self._pushed * 3000))
            self._pushed += 1
