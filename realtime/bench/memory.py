"""Whether the loop leaks: resident memory over thousands of frames through a real session."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Mapping, Sequence
from typing import Any

import psutil

from pipelines.settings import Settings
from realtime.bench.errors import need
from realtime.bench.fewer import Fewer
from realtime.bench.lines import conditioners, included
from realtime.bench.picture import moving_picture
from realtime.bench.report import Cell, Report, Table
from realtime.bench.weights import RANDOM, subject

#: What is measured unless something else is asked for: the whole path, at the smallest cost a frame.
TINY = f"{RANDOM}tiny"
#: Samples; the first fifth of the frames warms up allocators and caches.
SAMPLES, WARM_UP_SHARE = 20, 0.2


def run(*, model: str = TINY, frames: int = 10_000, backend: str = "auto") -> Report:
    """``frames`` at full speed through one session. Raises CantRun where the packages of the loop are missing."""
    need("prometheus-client")
    from pipelines import SDXSPipeline

    with subject(TINY if model == "auto" else model) as what:
        pipe = SDXSPipeline.from_pretrained(what.name, backend=backend)
        rows = asyncio.run(_watch(pipe, what.settings, frames))
        about = {**what.about(), "backend": pipe.backend_name}
    settled = [row for row in rows if row["frames"] >= frames * WARM_UP_SHARE]
    grown = {name: settled[-1][name] - settled[0][name] for name in ("resident_mb", "gpu_mb") if settled[0].get(name)}
    return Report(
        what="memory",
        timed=f"{frames:,} frames at full speed through one session, {included()}; growth from a fifth of them on",
        subject=about,
        tables=[Table(name="memory", about="of this process, by the frames painted so far", rows=rows)],
        figures={
            "frames": frames,
            "growth, MB": round(grown["resident_mb"], 1),
            **({"growth on the GPU, MB": round(grown["gpu_mb"], 1)} if "gpu_mb" in grown else {}),
        },
    )


async def _watch(pipe: Any, settings: Settings, frames: int) -> Sequence[Mapping[str, Any]]:
    from realtime.bench.feeder import Feeder
    from realtime.hub import Hub
    from realtime.model import wrap

    hub = Hub(lambda: wrap(Fewer(pipe, (1,)), conditioners()))
    hub.start()
    await hub.wait_ready()
    session = hub.open("memory")
    session.change(settings.as_dict())
    feeder = Feeder(session, [moving_picture(index, *pipe.size) for index in range(40)], outstanding=2)
    rows = []
    for sample in range(1, SAMPLES + 1):
        await feeder.block(frames * sample // SAMPLES - frames * (sample - 1) // SAMPLES)
        rows.append({"frames": frames * sample // SAMPLES, **_taken(pipe)})
    await hub.aclose()
    return rows


def _taken(pipe: Any) -> Mapping[str, Cell]:
    gc.collect()
    taken: dict[str, Cell] = {"resident_mb": round(psutil.Process().memory_info().rss / 1e6, 2)}
    if pipe.device.type == "cuda":
        import torch

        taken["gpu_mb"] = round(torch.cuda.memory_reserved(pipe.device) / 1e6, 2)
    return taken
