"""A running stream through the real pipeline and conditioners at tiny size: LoRAs, controls and modes change live."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray

from realtime.hub import Hub
from realtime.model import Model, load
from streaming.frame import Frame
from tests.pipelines import tiny
from tests.pipelines.test_families import peft_adapter
from tests.realtime.fakes import Viewer

IMAGE = np.random.default_rng(3).integers(0, 256, (128, 128, 3), np.uint8)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    workspace = tmp_path_factory.mktemp("model")
    _, directory = tiny.save(workspace)
    options = []
    for seed, name in enumerate(("anime", "ink")):
        peft_adapter(tiny.pipeline(workspace / name), workspace / "loras" / name, seed=seed)
        options.append(f"{name}={workspace / 'loras' / name}")
    return load(str(directory), backend="eager", device="cpu", loras=options)


@pytest_asyncio.fixture
async def hub(model: Model) -> AsyncIterator[Hub]:
    hub = Hub(lambda: model)
    hub.start()
    await hub.wait_ready()
    yield hub
    assert await hub.aclose()


class Stream:
    """A camera's session that is asked for one picture at a time."""

    def __init__(self, hub: Hub, name: str) -> None:
        self.session = hub.open(name)
        self.viewer = Viewer(self.session)
        self.session.change({"lora": ""})
        self._seq = 0

    async def picture(self, **patch: Any) -> NDArray[np.uint8]:
        """What is seen after a change."""
        if patch:
            self.session.change(patch)
        self.session.push(Frame(image=IMAGE, seq=self._seq, pts=3000 * self._seq))
        await self.viewer.until(lambda v: v.frames and v.frames[-1].seq == self._seq)
        self._seq += 1
        assert not self.viewer.of_type("ended")
        return self.viewer.frames[-1].image


async def test_loras_are_swapped_on_a_running_stream_and_leave_no_trace(hub: Hub) -> None:
    stream = Stream(hub, "one")
    plain = await stream.picture()
    anime, ink = await stream.picture(lora="anime"), await stream.picture(lora="ink")
    half = await stream.picture(lora_scale=0.5)
    assert len({each.tobytes() for each in (plain, anime, ink, half)}) == 4
    assert np.array_equal(await stream.picture(lora="anime", lora_scale=1.0), anime)
    assert np.array_equal(await stream.picture(lora=""), plain)


async def test_two_streams_with_a_lora_each_take_turns(hub: Hub) -> None:
    one, two = Stream(hub, "one"), Stream(hub, "two")
    anime, plain = await one.picture(lora="anime"), await two.picture()
    assert not np.array_equal(anime, plain)
    for _ in range(5):
        assert np.array_equal(await one.picture(), anime)
        assert np.array_equal(await two.picture(), plain)


async def test_control_colours_and_walks_change_the_picture_and_come_back(hub: Hub) -> None:
    stream = Stream(hub, "one")
    plain = await stream.picture()
    free = await stream.picture(control="none")
    coloured = await stream.picture(control="canny", init_strength=0.7)
    travelled = await stream.picture(init_strength=0.0, seed_b=9, seed_blend=0.5)
    assert len({each.tobytes() for each in (plain, free, coloured, travelled)}) == 4
    assert np.array_equal(await stream.picture(seed_blend=0.0), plain)


async def test_an_imagined_walk_never_comes_back_to_a_picture(hub: Hub) -> None:
    session = hub.open("one", mode="imagine", settings={"walk": "seeds", "walk_seconds": 1.0})
    viewer = Viewer(session)
    await viewer.until(lambda v: len(v.frames) >= 12)
    pictures = [picture for picture, _ in itertools.groupby(frame.image.tobytes() for frame in viewer.frames)]
    assert len(pictures) == len(set(pictures)) > 8
    assert not viewer.of_type("ended")
