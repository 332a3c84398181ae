from __future__ import annotations

import asyncio
import statistics
import threading
from typing import Any

import numpy as np
import pytest

from pipelines.settings import Settings
from realtime.scheduler import MAX_FAILURES
from streaming.errors import BadRequest
from tests.realtime.conftest import MakeHub
from tests.realtime.fakes import SIZE, Camera, NumberPainter, Viewer, numbered, until


def settled(session: Any) -> bool:
    row = session.status()
    return bool(row["frames_in"] == row["frames_out"] + row["frames_dropped"])


async def test_a_camera_picture_comes_back_painted_with_its_identity(make_hub: MakeHub) -> None:
    session = (await make_hub()).open("one")
    viewer = Viewer(session)
    assert session.status()["state"] == "waiting"
    sent = numbered(42, size=(100, 200), seq=7)
    session.push(sent)
    await viewer.until(lambda v: v.frames)
    painted = viewer.frames[0]
    assert painted.image.shape == (*SIZE, 3)
    assert painted.image[0, 0].tolist() == [42, 0, 100]
    assert (painted.seq, painted.pts, painted.captured_ns) == (7, sent.pts, sent.captured_ns)
    row = session.status()
    assert (row["name"], row["state"], row["viewers"]) == ("one", "live", 1)
    assert (row["frames_in"], row["frames_out"], row["frames_dropped"]) == (1, 1, 0)
    assert row["latency_ms"]["p95"] > 0
    assert row["model_ms"] is not None


async def test_deliveries_come_on_the_event_loop(make_hub: MakeHub) -> None:
    session = (await make_hub()).open("one")
    threads: list[int] = []
    session.subscribe(lambda frame: threads.append(threading.get_ident()))
    session.push(numbered(1))
    await until(lambda: threads)
    assert threads == [threading.get_ident()]


async def test_a_slow_model_drops_frames_and_never_shows_old_ones(make_hub: MakeHub) -> None:
    """200 ms a picture against 30 pictures a second: the rate falls, the age doesn't grow."""
    session = (await make_hub(NumberPainter(seconds=0.2))).open("slow")
    viewer = Viewer(session)
    behind: list[int] = []
    with Camera(session, fps=30) as camera:
        session.subscribe(lambda frame: behind.append(camera.sent - frame.seq))
        await viewer.until(lambda v: len(v.frames) >= 20, timeout=60)
    await until(lambda: settled(session))
    # A queue would be 100 frames and over 3 s behind by now. In between: pictures that wait for a busy processor.
    assert max(behind) < 50
    assert statistics.median(behind) < 20
    assert statistics.median(viewer.ages_ms) < 1000
    assert [frame.seq for frame in viewer.frames] == sorted({frame.seq for frame in viewer.frames})
    row = session.status()
    assert row["frames_dropped"] > row["frames_out"]
    assert row["latency_ms"]["p50"] < 1000


async def test_a_busy_event_loop_gets_the_newest_picture_not_a_queue_of_them(make_hub: MakeHub) -> None:
    painter = NumberPainter()
    session = (await make_hub(painter)).open("one")
    viewer = Viewer(session)
    before = len(painter.forwards)
    pause = threading.Event()
    for number in range(5):  # this coroutine holds the loop: no delivery can run in between
        session.push(numbered(number))
        while len(painter.forwards) <= before + number or session.status()["frames_dropped"] < number:
            pause.wait(0.002)
    await until(lambda: settled(session))
    assert [frame.seq for frame in viewer.frames] == [4]
    assert session.status()["frames_dropped"] == 4


async def test_three_sessions_do_not_cross(make_hub: MakeHub) -> None:
    hub = await make_hub(NumberPainter(seconds=0.002))
    sessions = [hub.open(f"s{index}") for index in range(3)]
    for index, session in enumerate(sessions):
        session.change({"seed": 50 + index, "conditioning_scale": index / 2})
    viewers = [Viewer(session) for session in sessions]
    cameras = [Camera(session, fps=100) for session in sessions]
    for viewer in viewers:
        await viewer.until(lambda v: len(v.frames) >= 50)
    for camera in cameras:
        camera.close()
    for index, viewer in enumerate(viewers):
        for frame in viewer.frames:
            assert (frame.image == [frame.seq % 256, 50 + index, 50 * index]).all()


async def test_one_session_leaving_or_failing_leaves_the_others_running(make_hub: MakeHub) -> None:
    def spoil(settings: Any) -> None:
        if any(each.seed == 66 for each in settings):
            raise RuntimeError("seed 66")

    hub = await make_hub(NumberPainter(spoil=spoil))
    leaving, failing, staying = (hub.open(name) for name in ("leaving", "failing", "staying"))
    viewers = {session.name: Viewer(session) for session in (leaving, failing, staying)}
    cameras = [Camera(session, fps=60) for session in (leaving, failing, staying)]
    for viewer in viewers.values():
        await viewer.until(lambda v: v.frames)
    hub.close("leaving", reason="The publisher left.")
    failing.change({"seed": 66})
    await viewers["failing"].until(lambda v: v.of_type("ended"))
    seen = len(viewers["staying"].frames)
    await viewers["staying"].until(lambda v: len(v.frames) > seen + 10)
    for camera in cameras:
        camera.close()
    assert viewers["leaving"].of_type("ended") == [{"type": "ended", "reason": "The publisher left."}]
    assert viewers["failing"].of_type("ended")[0]["reason"].endswith("seed 66")
    assert [session.name for session in hub.sessions()] == ["staying"]
    for session in (leaving, failing, staying):
        await until(lambda session=session: settled(session))


async def test_pictures_that_cannot_be_prepared_end_their_session(make_hub: MakeHub) -> None:
    hub = await make_hub()
    session = hub.open("broken")
    viewer = Viewer(session)
    for number in range(MAX_FAILURES):
        session.push(numbered(number, size=(0, 0)))
        await until(lambda: settled(session))
    await viewer.until(lambda v: v.of_type("ended"))
    assert "could not be prepared" in viewer.of_type("ended")[0]["reason"]
    assert not hub.sessions()


async def test_each_change_has_an_id_and_is_told_when_it_is_visible(make_hub: MakeHub) -> None:
    session = (await make_hub()).open("one")
    viewer = Viewer(session)
    assert [session.change({"seed": seed})["id"] for seed in (1, 2)] == [1, 2]
    session.push(numbered(0, seq=100))
    await viewer.until(lambda v: len(v.of_type("visible")) == 2)
    answer = session.change({"prompt": "neon"})
    assert answer["id"] == 3
    assert answer["settings"] == session.settings()
    assert answer["settings"]["prompt"] == "neon"
    session.push(numbered(0, seq=101))
    await viewer.until(lambda v: len(v.frames) == 2)
    session.push(numbered(0, seq=102))
    await viewer.until(lambda v: len(v.frames) == 3)
    assert viewer.of_type("visible") == [
        {"type": "visible", "id": 1, "seq": 100},
        {"type": "visible", "id": 2, "seq": 100},
        {"type": "visible", "id": 3, "seq": 101},
    ]


async def test_changes_while_live_become_visible_in_order_once_and_truthfully(make_hub: MakeHub) -> None:
    """The picture that an event names shows that change or a later one, and no picture before it does."""
    session = (await make_hub(NumberPainter(seconds=0.01))).open("one")
    viewer = Viewer(session)
    with Camera(session, fps=60):
        for seed in range(1, 31):
            assert session.change({"seed": seed})["id"] == seed
            await asyncio.sleep(0.007)  # spreads the changes over the frames
        await viewer.until(lambda v: len(v.of_type("visible")) == 30)
    events = viewer.of_type("visible")
    assert [event["id"] for event in events] == list(range(1, 31))
    for event in events:
        for frame in viewer.frames:
            assert (frame.seq >= event["seq"]) == (int(frame.image[0, 0, 1]) >= event["id"])


@pytest.mark.parametrize(
    ("patch", "sentence"),
    [
        ([], "a list"),
        (None, "null"),
        ("ink", "a string"),
        (True, "a boolean"),
        ({"colour": 1}, "no setting 'colour'"),
        ({"seed": -1}, "seed is -1"),
        ({"conditioning_scale": 3}, "conditioning_scale is 3"),
        ({"conditioning_scale": float("nan")}, "conditioning_scale is nan"),
        ({"prompt": "x" * 501}, "prompt is"),
        ({"control": "depth"}, "no control 'depth'; it has canny, none"),
        ({"extra_controls": {"sketch": 1.0}}, "no control 'sketch'"),
        ({"lora": "anime"}, "no LoRA 'anime'; it was started without any"),
        ({"canny_low": 300}, "canny_low (300)"),
    ],
)
async def test_a_bad_change_changes_nothing(make_hub: MakeHub, patch: object, sentence: str) -> None:
    session = (await make_hub()).open("one")
    before = session.settings()
    with pytest.raises(BadRequest) as caught:
        session.change(patch)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert session.settings() == before
    assert session.change({})["id"] == 1


async def test_a_viewer_that_raises_is_removed_and_stops_nobody(
    make_hub: MakeHub, caplog: pytest.LogCaptureFixture
) -> None:
    session = (await make_hub()).open("one")

    def faulty(_: object) -> None:
        raise ValueError("my own fault")

    session.subscribe(faulty)
    session.listen(faulty)
    viewer = Viewer(session)
    for number in range(2):
        session.change({})
        session.push(numbered(number))
        await viewer.until(lambda v, number=number: len(v.of_type("visible")) == number + 1)
    assert [record.message for record in caplog.records] == [
        "A viewer raised and was removed.",
        "A listener raised and was removed.",
    ]
    assert session.status()["viewers"] == 1


async def test_who_has_left_is_told_nothing_more(make_hub: MakeHub) -> None:
    session = (await make_hub()).open("one")
    gone, viewer = Viewer(session), Viewer(session)
    for stop in (gone.leave, gone.leave, gone.stop_listening, gone.stop_listening):
        stop()
    session.change({})
    session.push(numbered(1))
    await viewer.until(lambda v: v.of_type("visible"))
    assert (gone.frames, gone.events) == ([], [])
    assert session.status()["viewers"] == 1


async def test_stats_are_told_while_somebody_listens(make_hub: MakeHub) -> None:
    session = (await make_hub()).open("one")
    viewer = Viewer(session)
    session.push(numbered(1))
    await viewer.until(lambda v: len(v.of_type("stats")) == 2)
    row = viewer.of_type("stats")[-1]
    assert {key: row[key] for key in ("name", "frames_in", "frames_out")} == {
        "name": "one",
        "frames_in": 1,
        "frames_out": 1,
    }
    assert set(row) == {"type", *session.status()}


async def test_after_the_end_nothing_happens_any_more(make_hub: MakeHub) -> None:
    hub = await make_hub()
    session = hub.open("one")
    viewer = Viewer(session)
    session.close("Enough.")
    session.close("Enough again.")
    session.push(numbered(1))
    late: list[dict[str, Any]] = []
    session.listen(late.append)
    await until(lambda: late)
    assert late == viewer.events == [{"type": "ended", "reason": "Enough."}]
    assert viewer.frames == []
    row = session.status()
    assert (row["state"], row["frames_in"], row["viewers"]) == ("ended", 0, 0)


async def test_no_frame_mixes_two_settings(make_hub: MakeHub) -> None:
    """The edges and the picture of a frame come from one snapshot, whenever the change happens."""

    hub = await make_hub(NumberPainter(seconds=0.003))
    session = hub.open("one")
    viewer = Viewer(session)
    with Camera(session, fps=100):
        for step in range(1, 100):
            session.change({"seed": step, "conditioning_scale": step / 100})
            await asyncio.sleep(0.003)  # spreads the changes over the frames
        await viewer.until(lambda v: len(v.of_type("visible")) == 99)
    for frame in viewer.frames:
        seed, scale = (int(value) for value in frame.image[0, 0, 1:])
        assert seed == scale or (seed, scale) == (0, 100)


async def test_the_stamp_is_copied_when_asked_for(make_hub: MakeHub) -> None:
    from streaming import stamp

    hub = await make_hub(NumberPainter(size=(256, 256)), copy_stamp=stamp.copy)
    session = hub.open("one")
    viewer = Viewer(session)
    frame = numbered(9, size=(512, 512))
    stamp.draw(frame.image, 1234, 5678)
    session.push(frame)
    await viewer.until(lambda v: v.frames)
    read = stamp.read(viewer.frames[0].image)
    assert read is not None
    assert (read.counter, read.time_ms) == (1234, 5678)
    assert np.array_equal(viewer.frames[0].image[-1, 0], [9, 0, 100]), "the rest is painted"


def test_the_defaults_of_the_fake_are_those_the_tests_count_on() -> None:
    assert Settings().seed == 0
    assert Settings().conditioning_scale == 1.0


async def test_what_the_source_dropped_is_counted(make_hub: MakeHub) -> None:
    """The connection converts the newest picture only; a gap in its numbers is drops like any other."""
    session = (await make_hub()).open("gaps")
    for number in (3, 4, 7):
        session.push(numbered(number))
    await until(lambda: settled(session))
    row = session.status()
    assert row["frames_in"] == 5
    assert row["frames_dropped"] >= 2
