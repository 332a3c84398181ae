"""From ``sdxs-live serve`` to the first painted frame, and the memory that the server takes."""

from __future__ import annotations

import asyncio
import tempfile

from pipelines.folders import models_folder
from realtime.bench.errors import need
from realtime.bench.report import Report, Row
from realtime.bench.timing import peak_resident
from realtime.bench.weights import subject

#: The session that ``--source`` makes, and what it paints.
SESSION, SOURCE = "live", "test:"
STARTS = 5
#: Frames painted before the memory is read.
FRAMES = 60


def run(*, model: str = "auto", starts: int = STARTS) -> Report:
    """One start with an empty cache, and ``starts`` with what that one left behind.

    ``auto``: of the embedded model on the CPU, which is what every machine can do.

    Raises CantRun where the packages of the server are missing.
    """
    need("av", "aiortc", "aiohttp", "controlnet-aux")
    device = "cpu" if model == "auto" else "auto"
    with (
        subject("embedded" if model == "auto" else model) as what,
        tempfile.TemporaryDirectory(prefix="sdxs-cache-") as cache,
    ):
        first = asyncio.run(_start(what.name, device, cache))
        found = [asyncio.run(_start(what.name, device, cache)) for _ in range(starts)]
    pages, ready, painted, peaks = zip(*found, strict=True)
    return Report(
        what="start",
        timed=f"from the start of `sdxs-live serve --source {SOURCE}`, {starts} times, files in the page cache; "
        f"memory: largest resident size of the server's process, {FRAMES} frames painted",
        subject={**what.about(), **({"device": "cpu", "precision": "fp32"} if device == "cpu" else {})},
        rows=[
            Row(name="the page is served", milliseconds=[1000 * each for each in pages]),
            Row(name="ready for a session", milliseconds=[1000 * each for each in ready]),
            Row(name="first painted frame", milliseconds=[1000 * each for each in painted]),
            Row(name="first painted frame, empty cache", milliseconds=[1000 * first[2]], note="as after an install"),
        ],
        figures={"peak memory, MB": round(max(peaks) / 1e6), "peak memory, empty cache, MB": round(first[3] / 1e6)},
    )


async def _start(model: str, device: str, cache: str) -> tuple[float, float, float, int]:
    """Seconds until the page, until ready, until the first painted frame, and bytes at most."""
    from realtime.bench.server import started

    folders = {"SDXS_CACHE": cache, "SDXS_MODELS": str(models_folder())}
    async with started(model, "--source", SOURCE, "--device", device, environment=folders) as running:
        page = await running.until_page()
        ready = await running.until_ready()
        painted = await running.until_painted(SESSION)
        await running.until_painted(SESSION, frames=FRAMES)
        return page, ready, painted, peak_resident(running.pid)
