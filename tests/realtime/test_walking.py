"""Walks: the pictures change by themselves, by the time of their capture, on any kind of session."""

from __future__ import annotations

import dataclasses

import pytest

from pipelines.settings import Settings
from realtime.walking import Walker, walks
from tests.realtime.conftest import MakeHub
from tests.realtime.fakes import NumberPainter, Viewer, numbered, until

SECOND = 1_000_000_000
START = 50 * SECOND


def position(settings: Settings) -> float:
    """How many legs a walk through the seeds has come from seed 0."""
    return settings.seed + settings.seed_blend


def test_without_a_walk_the_settings_stay_the_very_same() -> None:
    settings = Settings(seed=3)
    nowhere = Settings(walk="prompts", prompt="ink")
    assert Walker()(settings, START) is settings
    assert Walker()(nowhere, START) is nowhere
    assert not walks(nowhere)
    assert walks(nowhere.replace(prompt_b="neon"))


def test_a_walk_begins_with_its_first_frame_and_follows_the_capture_times() -> None:
    walker, settings = Walker(), Settings(walk="seeds", walk_seconds=2.0)
    at = [position(walker(settings, START + round(seconds * SECOND))) for seconds in (0, 1, 1.5, 3, 3, 101)]
    assert at == pytest.approx([0, 0.5, 0.75, 1.5, 1.5, 50.5])


def test_a_time_that_goes_back_does_not_turn_the_walk_around() -> None:
    walker, settings = Walker(), Settings(walk="seeds", walk_seconds=1.0)
    at = [position(walker(settings, START + seconds * SECOND)) for seconds in (0, 2, 1, 2, 3)]
    assert at == pytest.approx([0, 2, 2, 2, 3])


@pytest.mark.parametrize(
    "change", [{"walk": "prompts"}, {"prompt": "chalk"}, {"prompt_b": "glass"}, {"seed": 7}, {"walk": "none"}]
)
def test_it_begins_anew_when_walk_prompts_or_seed_change(change: dict[str, object]) -> None:
    walker = Walker()
    before = Settings(walk="seeds", walk_seconds=1.0, prompt="ink", prompt_b="neon")
    walker(before, START)
    assert position(walker(before, START + 5 * SECOND)) == pytest.approx(5)
    after = before.replace(change)
    derived = walker(after, START + 6 * SECOND)
    assert (derived.seed, derived.seed_blend, derived.blend) == (after.seed, 0.0, 0.0)
    if change == {"walk": "none"}:  # and a pause is an end
        assert position(walker(before, START + 7 * SECOND)) == 0


@pytest.mark.parametrize("change", [{"canny_low": 5}, {"conditioning_scale": 0.5}, {"control": "none"}])
def test_it_goes_on_when_something_else_changes(change: dict[str, object]) -> None:
    walker, settings = Walker(), Settings(walk="seeds", walk_seconds=1.0)
    walker(settings, START)
    assert position(walker(settings.replace(change), START + 5 * SECOND)) == pytest.approx(5)


def test_another_pace_counts_from_here_on() -> None:
    walker, settings = Walker(), Settings(walk="seeds", walk_seconds=1.0)
    walker(settings, START)
    walker(settings, START + 4 * SECOND)
    slower = settings.replace(walk_seconds=10.0)
    at = [position(walker(slower, START + seconds * SECOND)) for seconds in (4, 9, 14)]
    assert at == pytest.approx([4, 4.5, 5])


async def test_a_camera_s_frames_walk_by_their_own_times_and_a_slow_model_skips_ahead(make_hub: MakeHub) -> None:
    """Of ten frames a second most are dropped by this model; those it paints are as far as they should be."""
    painter = NumberPainter(seconds=0.01)
    session = (await make_hub(painter)).open("one")
    viewer = Viewer(session)
    assert session.change({"walk": "seeds", "walk_seconds": 2.0, "seed": 100})["id"] == 1
    painter.painted.clear()
    for number in range(100):
        session.push(dataclasses.replace(numbered(number), captured_ns=START + number * SECOND // 10))
        if number % 10 == 0:
            await viewer.until(lambda v, number=number: v.frames and v.frames[-1].seq == number)
    await until(lambda: viewer.frames[-1].seq == 99)
    await until(lambda: len(painter.painted) == len(viewer.frames))
    first = viewer.frames[0].captured_ns
    due = [100 + (frame.captured_ns - first) / SECOND / 2 for frame in viewer.frames]
    assert [position(settings) for (settings,) in painter.painted] == pytest.approx(due)
    assert due == sorted(set(due))
    assert due[-1] == pytest.approx(104.95)
    assert len(due) < 90
    assert (session.settings()["seed"], session.settings()["seed_blend"]) == (100, 0.0)
    assert [event["id"] for event in viewer.of_type("visible")] == [1]


async def test_a_walk_between_prompts_goes_to_and_fro(make_hub: MakeHub) -> None:
    painter = NumberPainter()
    session = (await make_hub(painter)).open("one")
    viewer = Viewer(session)
    session.change({"walk": "prompts", "walk_seconds": 1.0, "prompt": "ink", "prompt_b": "neon"})
    painter.painted.clear()
    for half_seconds in range(9):
        session.push(dataclasses.replace(numbered(half_seconds), captured_ns=START + half_seconds * SECOND // 2))
        await viewer.until(lambda v, count=half_seconds: len(v.frames) == count + 1)
    blends = [settings.blend for (settings,) in painter.painted]
    assert blends == pytest.approx([0, 0.5, 1, 0.5, 0, 0.5, 1, 0.5, 0])
    assert session.settings()["blend"] == 0.0
    assert len(painter.prepared) <= 4, "one preparation, not one for each frame"


async def test_a_session_without_a_camera_walks_while_somebody_watches(make_hub: MakeHub) -> None:
    painter = NumberPainter()
    session = (await make_hub(painter)).open("one", mode="imagine", settings={"walk": "seeds", "walk_seconds": 0.5})
    viewer = Viewer(session)
    await viewer.until(lambda v: len(v.frames) >= 20)
    session.close("Enough.")
    at = [position(settings) for (settings,) in painter.painted]
    assert at == sorted(at)
    took = (viewer.frames[-1].captured_ns - viewer.frames[0].captured_ns) / SECOND
    assert at[-1] == pytest.approx(took / 0.5, abs=1.0)
    assert all(settings.kinds == () for (settings,) in painter.painted[-19:])
