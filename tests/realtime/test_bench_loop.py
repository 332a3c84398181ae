"""The loop's benchmarks on real sessions: what a trace shows, how many users fit, that memory stays flat."""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from realtime import engine as engine_module
from realtime.bench import loop, memory, sessions, start
from realtime.bench.feeder import Feeder
from realtime.bench.simulated import SimulatedPainter, simulated
from realtime.bench.trace import Span, Tracer, as_chrome, busy, share_beside
from realtime.errors import BadInput
from realtime.hub import Hub
from tests.realtime.fakes import NumberPainter, model_of, numbered
from tests.realtime.test_bench import check_schema
from tests.realtime.test_engine import LateStreams

ROOT = Path(__file__).parent.parent.parent


def script(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


# The trace.


def span(name: str, begin: float, end: float) -> Span:
    return Span(name=name, track=name, begin=begin, end=end, seqs=(1,))


def test_how_much_of_a_stage_runs_beside_another() -> None:
    spans = [span("compute", 0, 10), span("compute", 8, 12), span("compute", 20, 30)]
    spans += [span("upload", 11, 13), span("upload", 25, 27), span("download", 12, 20)]
    assert busy(spans, "compute") == [(0, 12), (20, 30)]
    assert share_beside(spans, "upload", "compute") == pytest.approx(3 / 4)
    assert share_beside(spans, "download", "compute") == 0
    assert np.isnan(share_beside(spans, "prepare", "compute"))


async def _traced(tracer: Tracer, *, users: int, frames: int) -> list[Span]:
    """Of that many sessions, each of them at full speed."""
    with tracer.watching():
        hub = Hub(lambda: model_of(NumberPainter(seconds=0.01)), fps=0.1)
        hub.start()
        await hub.wait_ready()
        sessions = [hub.open(f"traced-{number}") for number in range(users)]
        for session in sessions:
            session.subscribe(tracer.delivered)
        images = [numbered(index).image for index in range(4)]
        feeders = [Feeder(session, images, outstanding=2) for session in sessions]
        await asyncio.gather(*(feeder.block(8) for feeder in feeders))
        tracer.start()
        await asyncio.gather(*(feeder.block(frames) for feeder in feeders))
        assert await hub.aclose()
    return tracer.spans()


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> Iterator[LateStreams]:
    """A device whose three queues are threads of their own."""
    streams = LateStreams(1)
    monkeypatch.setattr(engine_module, "streams_for", lambda device: streams)
    yield streams
    for stream in (streams.upload, streams.compute, streams.download):
        stream.close()


async def test_each_frame_goes_through_the_stages_in_order(late: LateStreams) -> None:
    spans = await _traced(Tracer(), users=1, frames=40)
    by_frame: dict[int, dict[str, Span]] = {}
    for each in spans:
        for seq in each.seqs:
            by_frame.setdefault(seq, {})[each.name] = each
    whole = [
        frame for frame in by_frame.values() if {"fit", "maps", "upload", "compute", "download", "frame"} <= set(frame)
    ]
    assert len(whole) >= 30
    for frame in whole:
        stages = [frame[name] for name in ("fit", "maps", "upload", "compute", "download")]
        for before, after in itertools.pairwise(stages):
            assert before.end <= after.begin + 0.5, (before, after)
        assert frame["frame"].begin <= stages[0].begin + 0.5
        assert stages[-1].end <= frame["frame"].end + 0.5
        assert frame["compute"].end - frame["compute"].begin >= 10
    computes = sorted((frame["compute"] for frame in whole), key=lambda each: each.begin)
    assert all(a.end <= b.begin + 0.5 for a, b in itertools.pairwise(computes)), "one after the other"


async def test_the_copies_of_one_run_beside_the_computing_of_another(late: LateStreams) -> None:
    spans = await _traced(Tracer(), users=3, frames=30)
    assert share_beside(spans, "upload", "compute") > 0.2
    assert len(busy(spans, "compute")) > 10


async def test_a_loop_that_is_not_watched_knows_nothing_of_it() -> None:
    tracer = Tracer()
    before = (engine_module.Engine.begin, engine_module.Engine.finish, engine_module.streams_for)
    with tracer.watching():
        assert engine_module.Engine.begin is not before[0]
    assert (engine_module.Engine.begin, engine_module.Engine.finish, engine_module.streams_for) == before


def test_the_loop_benchmark_writes_a_trace_that_can_be_drawn(tmp_path: Path) -> None:
    report = loop.run(model="random:tiny", seconds=0.5, trace=tmp_path / "trace.json")
    check_schema(report.as_dict())
    assert [row.name for row in report.rows][-2:] == ["the loop: session, scheduler, engine", "making a picture steady"]
    assert all(len(row.milliseconds) >= 3 for row in report.rows)
    assert report.figures["overhead over the bare model"]
    trace = json.loads((tmp_path / "trace.json").read_text(encoding="utf-8"))
    named = {event["args"]["name"] for event in trace["traceEvents"] if event["ph"] == "M"}
    assert {"inference thread", "upload", "compute", "download", "frames"} <= named
    opened = [event["id"] for event in trace["traceEvents"] if event["ph"] == "b"]
    assert opened
    assert len(set(opened)) == len(opened)
    assert all(event["dur"] >= 0 for event in trace["traceEvents"] if event["ph"] == "X")

    script("docs/make_timeline.py").main(tmp_path / "trace.json", tmp_path / "timeline.png")
    picture = np.asarray(Image.open(tmp_path / "timeline.png").convert("RGB"))
    assert picture.shape[1] == 1400
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 50


def test_a_trace_is_what_its_viewers_take() -> None:
    chrome = as_chrome(
        [span("compute", 1, 2), Span(name="frame", track="frames", begin=0, end=3, seqs=(7,))], about={"model": "m"}
    )
    complete = next(event for event in chrome["traceEvents"] if event["ph"] == "X")
    assert (complete["ts"], complete["dur"]) == (1000, 1000), "microseconds"
    assert [event["ph"] for event in chrome["traceEvents"] if event.get("id") == 7] == ["b", "e"]


# Users.


def test_a_painter_of_known_cost() -> None:
    painter = simulated("simulated:3ms+0.5ms")
    assert isinstance(painter, SimulatedPainter)
    maps = np.zeros((3, 1, *painter.size), np.uint8)
    begin = time.perf_counter()
    pictures = painter.paint_uint8(torch.from_numpy(maps), [painter.preset.defaults] * 3)
    assert time.perf_counter() - begin >= 0.0045, "three are painted as four: 3 + 3 × 0.5 ms"
    assert pictures.shape == (3, *painter.size, 3)
    for wrong in ("simulated:", "simulated:0ms", "simulated:4", "4ms"):
        with pytest.raises(BadInput, match="is no painter"):
            simulated(wrong)


def test_a_slower_painter_has_fewer_users() -> None:
    """40 ms paint 25 pictures a second in all, which one user may get, and three can't."""
    reports = {cost: sessions.run(painter=f"simulated:{cost}", seconds=2.0, steps=(1, 3)) for cost in ("4ms", "40ms")}
    users = {cost: report.figures["users with both"] for cost, report in reports.items()}
    assert users["4ms"] == 3
    assert users["40ms"] in (0, 1)
    check_schema(reports["4ms"].as_dict())
    (table,) = reports["40ms"].tables
    rates = [row["users"] * row["fps_mean"] for row in table.rows]
    assert all(rate <= 28 for rate in rates), "no more than the painter can"
    assert [row["users"] for row in reports["4ms"].tables[0].rows] == [1, 3]


def test_the_count_ends_before_the_first_step_that_fails() -> None:
    rows = [{"users": 1, "ok": True}, {"users": 2, "ok": False}, {"users": 4, "ok": True}]
    assert sessions._last(rows, lambda row: row["ok"]) == 1
    assert sessions._last(rows[1:], lambda row: row["ok"]) == 0


# Memory and starting.


@pytest.mark.slow
def test_memory_is_flat_over_ten_thousand_frames() -> None:
    report = memory.run(frames=10_000)
    check_schema(report.as_dict())
    (table,) = report.tables
    assert [row["frames"] for row in table.rows] == [500 * step for step in range(1, 21)]
    growth = report.figures["growth, MB"]
    assert isinstance(growth, float)
    # A leak of a 64² picture a frame would be 98 MB.
    assert growth < 8


async def test_the_feeder_survives_dropped_frames() -> None:
    """A busy loop drops some; their places are filled again, and the block ends."""
    hub = Hub(lambda: model_of(NumberPainter(seconds=0.003)))
    hub.start()
    await hub.wait_ready()
    session = hub.open("one")
    feeder = Feeder(session, [numbered(index).image for index in range(4)], outstanding=3)
    for number in range(1000, 1020):
        session.push(numbered(number))
    assert await asyncio.wait_for(feeder.block(60), 30) > 0
    assert await hub.aclose()


@pytest.mark.slow
def test_a_start_is_timed_from_page_to_picture() -> None:
    report = start.run(model="random:tiny", starts=1)
    check_schema(report.as_dict())
    page, ready, painted, cold = (row.milliseconds[0] for row in report.rows)
    assert 0 < page < ready <= painted
    assert cold > 0
    assert 100 < int(report.figures["peak memory, MB"] or 0) < 4000
