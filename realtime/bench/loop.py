"""What the loop costs: a session at full speed (crop, canny, scheduler, engine, event loop) next to the bare calls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from pipelines import SDXSPipeline
from pipelines.frame_graph import Form
from pipelines.settings import Settings
from pipelines.steady import Steadier
from realtime.bench.environment import machine
from realtime.bench.errors import need
from realtime.bench.fewer import Fewer
from realtime.bench.lines import conditioners, included, lines
from realtime.bench.picture import moving_picture
from realtime.bench.report import Cell, Report, Row, percentile
from realtime.bench.weights import subject
from realtime.fit import shrink
from realtime.prepare import COLOUR_SHRINK

#: Frames in one measured block; blocks of all kinds take turns.
BLOCK = 40
#: Frames in the loop at once: one that waits, and as many as the engine takes: one on a CPU, two on a GPU.
ON_CPU, ON_GPU = 2, 3
TRACE_FRAMES, TRACE_SECONDS = 60, 1.5
Paint = Callable[[NDArray[np.uint8]], object]


def run(*, model: str = "auto", seconds: float = 20.0, trace: Path | None = None) -> Report:
    """Blocks of frames through a session and blocks of bare calls, in turn. Overhead is the ratio of their medians.

    Afterwards a second and a half of the loop is traced, and written to ``trace`` as a Chrome trace where asked.
    Raises CantRun where the packages of the loop are missing.
    """
    need("prometheus-client")
    with subject(model) as what:
        pipe = SDXSPipeline.from_pretrained(what.name)
        both, alone, loop = asyncio.run(_take_turns(pipe, what.settings, seconds))
        overlap = asyncio.run(_trace(pipe, what.settings, trace))
        middle = percentile(loop, 50)
        return Report(
            what="loop",
            timed=f"ms a frame, medians of blocks of {BLOCK} frames, one session at full speed, {included()}",
            subject={**what.about(), "backend": pipe.backend_name},
            rows=[
                Row(name="bare model calls, maps ready", milliseconds=alone),
                Row(name="bare calls, canny then model", milliseconds=both),
                Row(name="the loop: session, scheduler, engine", milliseconds=loop, note="canny beside the model"),
                Row(name="making a picture steady", milliseconds=steadying(pipe.size), note="off above"),
            ],
            figures={
                "overhead over the bare model": f"{middle / percentile(alone, 50) - 1:+.1%}",
                "overhead over canny then model": f"{middle / percentile(both, 50) - 1:+.1%}",
                **overlap,
            },
        )


async def _take_turns(
    pipe: SDXSPipeline, settings: Settings, seconds: float
) -> tuple[list[float], list[float], list[float]]:
    from realtime.bench.feeder import Feeder
    from realtime.hub import Hub
    from realtime.model import wrap

    hub = Hub(lambda: wrap(Fewer(pipe, (1,)), conditioners()))
    hub.start()
    await hub.wait_ready()
    session = hub.open("bench")
    session.change(settings.as_dict())
    images = [moving_picture(index, *pipe.size) for index in range(BLOCK)]
    feeder = Feeder(session, images, outstanding=_outstanding(pipe))
    with_canny, alone = bare(pipe, settings, draws=True), bare(pipe, settings, draws=False)
    times: tuple[list[float], list[float], list[float]] = ([], [], [])
    end = time.monotonic() + seconds
    await feeder.block(BLOCK)
    while time.monotonic() < end or len(times[0]) < 3:
        for paint, found in ((with_canny, times[0]), (alone, times[1])):
            found.append(_bare_block(paint, images))
        times[2].append(await feeder.block(BLOCK))
    await hub.aclose()
    return times


def steadying(size: tuple[int, int]) -> list[float]:
    """Milliseconds for each picture behind the first of a block in which something moves."""
    steadier, times = Steadier(), []
    for index in range(BLOCK):
        image = moving_picture(index, *size)
        planes = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420), np.uint8)
        start = time.perf_counter()
        steadier.picture(image, planes, Settings())
        times.append((time.perf_counter() - start) * 1000)
    return times[1:]


def _outstanding(pipe: SDXSPipeline) -> int:
    return ON_GPU if pipe.device.type == "cuda" else ON_CPU


def bare(pipe: SDXSPipeline, settings: Settings, *, draws: bool) -> Paint:
    """The calls that the loop makes, in the loop's form, one after the other; ``draws``: the maps too."""
    draw = lines(settings) if settings.kinds else None
    form: Form = "yuv" if "yuv" in pipe.forms else "rgb"
    kept: dict[int, NDArray[np.uint8]] = {}
    pipe.prepare(settings)

    def map_of(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if draw is None:
            return np.empty((0, *pipe.size), np.uint8)
        if draws:
            return draw(image)[None]
        if id(image) not in kept:
            kept[id(image)] = draw(image)[None]
        return kept[id(image)]

    def colours_of(image: NDArray[np.uint8]) -> torch.Tensor | None:
        if settings.init_strength == 0:
            return None
        return torch.from_numpy(shrink(image, (pipe.size[0] // COLOUR_SHRINK, pipe.size[1] // COLOUR_SHRINK)))[None].to(
            pipe.device
        )

    def paint(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        maps = torch.from_numpy(map_of(image))[None].to(pipe.device)
        colours = colours_of(image)
        picture: NDArray[np.uint8] = pipe.paint_uint8(maps, [settings], colours, form=form)[0].cpu().numpy()
        return picture

    return paint


def _bare_block(paint: Paint, images: Sequence[NDArray[np.uint8]]) -> float:
    start = time.perf_counter()
    for image in images:
        paint(image)
    return (time.perf_counter() - start) * 1000 / len(images)


async def _trace(pipe: SDXSPipeline, settings: Settings, file: Path | None) -> dict[str, Cell]:
    """The shares of the stages that ran beside each other."""
    from realtime.bench.feeder import Feeder
    from realtime.bench.trace import Tracer, busy, share_beside, write_chrome
    from realtime.hub import Hub
    from realtime.model import wrap

    tracer = Tracer()
    with tracer.watching():
        hub = Hub(lambda: wrap(Fewer(pipe, (1,)), conditioners()))
        hub.start()
        await hub.wait_ready()
        session = hub.open("traced")
        session.change(settings.as_dict())
        session.subscribe(tracer.delivered)
        images = [moving_picture(index, *pipe.size) for index in range(BLOCK)]
        feeder = Feeder(session, images, outstanding=_outstanding(pipe))
        per_frame = await feeder.block(BLOCK)
        tracer.start()
        await feeder.block(max(TRACE_FRAMES, round(TRACE_SECONDS * 1000 / per_frame)))
        await hub.aclose()
    spans = tracer.spans()
    if file:
        write_chrome(file, spans, about={"machine": machine(), "model": pipe.name, "backend": pipe.backend_name})
    begin, end = min(span.begin for span in spans), max(span.end for span in spans)
    computing = sum(last - first for first, last in busy(spans, "compute"))
    return {
        "the device computes": f"{computing / (end - begin):.0%} of the time",
        "preparing beside computing": _percent(share_beside(spans, "prepare", "compute")),
        "uploading beside computing": _percent(share_beside(spans, "upload", "compute")),
        "downloading beside computing": _percent(share_beside(spans, "download", "compute")),
    }


def _percent(share: float) -> str:
    return f"{share:.0%}"
