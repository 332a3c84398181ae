"""Settings on their way to the model: which maps, which colours and which LoRA a picture is painted with."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.errors import DownloadError
from pipelines.settings import Settings
from realtime.control import apply_patch
from realtime.hub import Hub
from realtime.model import wrap
from streaming.errors import BadRequest
from streaming.frame import Frame
from tests.realtime.conftest import MakeHub
from tests.realtime.fakes import (
    SIZE,
    Camera,
    FlatConditioner,
    NumberPainter,
    Viewer,
    flat_conditioners,
    numbered,
    until,
)


class Seen(NumberPainter):
    """Keeps the maps of the last batch."""

    maps: NDArray[np.uint8]

    def paint_uint8(self, maps: Any, settings: Sequence[Settings], colours: Any = None, *, form: Any = "rgb") -> Any:
        self.maps = maps.numpy().copy()
        return super().paint_uint8(maps, settings, colours, form=form)


ALL: dict[str, Any] = {"controls": ("canny", "sketch", "depth"), "loras": ("anime", "ink")}


@pytest.mark.parametrize(
    ("patch", "values"),
    [
        ({}, [10]),
        ({"control": "none"}, []),
        ({"control": "depth"}, [30]),
        ({"extra_controls": {"depth": 0.5}}, [10, 30]),
        ({"control": "sketch", "extra_controls": {"depth": 0.5, "canny": 1.0}}, [20, 10, 30]),
    ],
)
async def test_the_maps_come_in_the_order_of_the_kinds(
    make_hub: MakeHub, patch: dict[str, Any], values: list[int]
) -> None:
    painter = Seen(**ALL)
    session = (await make_hub(painter)).open("one")
    viewer = Viewer(session)
    session.change(patch)
    session.push(Frame(image=np.broadcast_to(np.array([10, 20, 30], np.uint8), (*SIZE, 3)).copy(), seq=0, pts=0))
    await viewer.until(lambda v: v.frames)
    assert painter.maps.shape == (1, len(values), *SIZE)
    assert painter.maps[0, :, 0, 0].tolist() == values


async def test_changing_the_control_while_live_mixes_nothing(make_hub: MakeHub) -> None:
    """Each picture is painted from the map of its own control, with the settings that asked for it."""
    painter = NumberPainter(**ALL, seconds=0.002)
    session = (await make_hub(painter)).open("one")
    viewer = Viewer(session)
    looks = {"canny": 10, "sketch": 20, "depth": 30, "none": 0}
    image = np.broadcast_to(np.array([10, 20, 30], np.uint8), (*SIZE, 3)).copy()
    for number in range(80):
        control = list(looks)[number // 5 % 4]
        session.change({"control": control, "seed": looks[control]})
        session.push(Frame(image=image, seq=number, pts=3000 * number))
        await asyncio.sleep(0.004)  # spreads the changes over the frames
    await viewer.until(lambda v: v.frames and v.frames[-1].seq == 79)
    seen = {tuple(frame.image[0, 0, :2].tolist()) for frame in viewer.frames}
    assert seen <= {(look, look) for look in looks.values()}
    assert len(seen) >= 3


async def test_the_colours_of_the_picture_reach_the_model_when_some_are_kept(make_hub: MakeHub) -> None:
    painter = NumberPainter()
    session = (await make_hub(painter)).open("one")
    viewer = Viewer(session)
    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    session.push(Frame(image=image, seq=0, pts=0))
    await viewer.until(lambda v: len(v.frames) == 1)
    assert painter.colours[-1] is None
    session.change({"init_strength": 0.4})
    session.push(Frame(image=image, seq=1, pts=3000))
    await viewer.until(lambda v: len(v.frames) == 2)
    colours = painter.colours[-1]
    assert colours is not None
    assert np.array_equal(colours[0], cv2.resize(image, (SIZE[1] // 4, SIZE[0] // 4), interpolation=cv2.INTER_AREA))
    assert np.allclose(colours[0, 0, 0], image[:4, :4].mean(axis=(0, 1)), atol=1)


async def test_another_lora_on_a_running_stream_is_a_change_like_any_other(make_hub: MakeHub) -> None:
    painter = NumberPainter(**ALL, seconds=0.005)
    session = (await make_hub(painter)).open("one")
    viewer = Viewer(session)
    with Camera(session, fps=60):
        for seed, lora in enumerate(["anime", "ink", "", "anime"], start=1):
            change = session.change({"lora": lora, "lora_scale": 0.5, "seed": seed})["id"]
            await viewer.until(lambda v, change=change: [e for e in v.of_type("visible") if e["id"] == change])
            count = len(viewer.frames)
            await viewer.until(lambda v, count=count: len(v.frames) > count + 3)
            assert int(viewer.frames[-1].image[0, 0, 1]) == seed
    assert not viewer.of_type("ended")
    painted = [(each.lora, each.seed) for batch in painter.painted for each in batch if each.seed]
    assert list(dict.fromkeys(painted)) == [("anime", 1), ("ink", 2), ("", 3), ("anime", 4)]
    assert [each.lora for each in painter.prepared if each.seed] == ["anime", "ink", "", "anime"]
    assert [frame.seq for frame in viewer.frames] == sorted({frame.seq for frame in viewer.frames})


async def test_sessions_with_different_loras_and_controls_are_never_in_one_batch(make_hub: MakeHub) -> None:
    """The fake itself refuses a mixed batch."""
    painter = NumberPainter(**ALL, seconds=0.002)
    hub = await make_hub(painter)
    patches: list[dict[str, Any]] = [{"lora": "anime"}, {"lora": "ink"}, {"control": "none"}, {"control": "depth"}]
    sessions = [hub.open(f"s{index}") for index in range(4)]
    for index, (session, patch) in enumerate(zip(sessions, patches, strict=True)):
        session.change({**patch, "seed": index + 1})
    viewers = [Viewer(session) for session in sessions]
    cameras = [Camera(session, fps=60) for session in sessions]
    for viewer in viewers:
        await viewer.until(lambda v: len(v.frames) >= 10)
    for camera in cameras:
        camera.close()
    for index, viewer in enumerate(viewers):
        assert {int(frame.image[0, 0, 1]) for frame in viewer.frames} == {index + 1}
        assert not viewer.of_type("ended")
    assert b"sdxs_live_failures_total 0.0" in hub.metrics()[0]


async def test_the_age_of_a_map_is_told_only_where_it_may_be_old(make_hub: MakeHub) -> None:
    hub = await make_hub()
    session = hub.open("one")
    session.push(numbered(1))
    await until(lambda: session.status()["frames_out"])
    row = session.status()
    assert (row["mode"], row["condition_age_ms"]) == ("camera", None)
    assert b"sdxs_live_condition_age_seconds_count 0.0" in hub.metrics()[0]


class Offline(FlatConditioner):
    """Its weights can't be had."""

    def __call__(self, image: NDArray[np.uint8], settings: Settings) -> Any:
        raise DownloadError("The weights of the sketch network are not here.")


async def hub_without_sketch_weights() -> Hub:
    conditioners = {**flat_conditioners(), "sketch": Offline("sketch")}
    hub = Hub(lambda: wrap(NumberPainter(**ALL), conditioners))
    hub.start()
    await hub.wait_ready()
    return hub


@pytest.mark.parametrize("mode", ["camera", "imagine"])
async def test_a_change_that_turns_out_impossible_costs_nobody_the_stream(mode: str) -> None:
    hub = await hub_without_sketch_weights()
    session = hub.open("one", mode=mode, settings={"control": "canny"})
    viewer = Viewer(session)
    session.change({"seed": 5})
    with contextlib.ExitStack() as stack:
        if mode == "camera":
            stack.enter_context(Camera(session, fps=60))
        await viewer.until(lambda v: v.of_type("visible"))
        assert session.change({"control": "sketch", "seed": 6})["id"] == 2
        await viewer.until(lambda v: v.of_type("error"))
        assert viewer.of_type("error") == [
            {
                "type": "error",
                "detail": "The weights of the sketch network are not here. The settings from before go on.",
            }
        ]
        assert (session.settings()["control"], session.settings()["seed"]) == ("canny", 5)
        assert session.change({"seed": 7})["id"] == 4
        await viewer.until(lambda v: int(v.frames[-1].image[0, 0, 1]) == 7)
    assert not viewer.of_type("ended")
    assert 6 not in {int(frame.image[0, 0, 1]) for frame in viewer.frames}
    assert await hub.aclose()


async def test_a_session_that_never_had_other_settings_ends_with_the_reason() -> None:
    hub = await hub_without_sketch_weights()
    viewer = Viewer(hub.open("one", mode="draw"))
    await viewer.until(lambda v: v.of_type("ended"))
    assert "The weights of the sketch network are not here." in viewer.of_type("ended")[0]["reason"]
    assert await hub.aclose()


@pytest.mark.parametrize(
    ("patch", "sentence"),
    [
        ({"control": "depth"}, "This model has no control 'depth'; it has canny, sketch, none."),
        ({"extra_controls": {"depth": 0.3}}, "This model has no control 'depth'; it has canny, sketch, none."),
        ({"lora": "oil"}, "This model has no LoRA 'oil'; it has anime, ink."),
        ({"control": "none", "extra_controls": {"sketch": 0.3}}, "extra_controls need a control"),
        ({"extra_controls": {"canny": 0.3}}, "canny is the control already"),
        ({"extra_controls": {"pose": 0.3}}, "extra_controls.pose"),
    ],
)
def test_what_the_model_lacks_is_refused_in_one_sentence(patch: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadRequest) as caught:
        apply_patch(Settings(), patch, controls=("canny", "sketch"), loras=("ink", "anime"))
    assert sentence in str(caught.value)
    assert str(caught.value).endswith(".")


def test_what_every_model_takes() -> None:
    bare = apply_patch(Settings(), {"control": "none", "lora": ""}, controls=())
    assert bare.kinds == ()
    with pytest.raises(BadRequest, match="no LoRA 'ink'; it was started without any"):
        apply_patch(bare, {"lora": "ink"}, controls=())
    with pytest.raises(BadRequest, match="no control 'canny'; it has none"):
        apply_patch(bare, {"control": "canny"}, controls=())
