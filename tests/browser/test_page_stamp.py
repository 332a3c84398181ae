"""The stamp drawn by the page is read by Python, and the other way round."""

from __future__ import annotations

import base64
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.async_api import Browser, Page

from streaming import stamp
from streaming.stamp import Stamp
from tests.browser.studio import open_studio

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

DRAW = """async ([width, height, counter, time]) => {
    const { drawStamp } = await import("/static/stamp.js");
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    const context = canvas.getContext("2d");
    context.fillStyle = "#876";
    context.fillRect(0, 0, width, height);
    drawStamp(context, width, counter, time);
    return canvas.toDataURL("image/png").split(",")[1];
}"""

READ = """async (png) => {
    const { readStamp } = await import("/static/stamp.js");
    const image = new Image();
    image.src = `data:image/png;base64,${png}`;
    await image.decode();
    const canvas = Object.assign(document.createElement("canvas"), { width: image.width, height: image.height });
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    return readStamp(context.getImageData(0, 0, canvas.width, canvas.height));
}"""


def from_png(text: str) -> NDArray[np.uint8]:
    return cv2.imdecode(np.frombuffer(base64.b64decode(text), np.uint8), cv2.IMREAD_COLOR)


def to_png(image: NDArray[np.uint8]) -> str:
    return base64.b64encode(cv2.imencode(".png", image)[1].tobytes()).decode()


async def read_in_page(page: Page, image: NDArray[np.uint8]) -> dict[str, Any] | None:
    found: dict[str, Any] | None = await page.evaluate(READ, to_png(image))
    return found


async def test_page_and_python_read_each_others_stamps(browser: Browser) -> None:
    async with open_studio(browser) as studio:
        page = await studio.page("/healthz")
        for width in (96, 256, 360, 512, 640, 1000, 1920):
            for counter, time in ((1, 0), (0xABCD, 0x123456), (0xFFFF, 0xFFFFFF)):
                drawn = from_png(await page.evaluate(DRAW, [width, 64, counter, time]))
                assert stamp.read(drawn) == Stamp(counter=counter, time_ms=time), width

                image = np.full((64, width, 3), 90, np.uint8)
                stamp.draw(image, counter, time)
                assert await read_in_page(page, image) == {"counter": counter, "timeMs": time}, width
                assert (image[: stamp.row_height(width)] == drawn[: stamp.row_height(width)]).all(), width


async def test_counter_and_time_wrap_alike(browser: Browser) -> None:
    async with open_studio(browser) as studio:
        page = await studio.page("/healthz")
        drawn = from_png(await page.evaluate(DRAW, [512, 64, 65536 + 7, 2**24 + 9.9]))
        assert stamp.read(drawn) == Stamp(counter=7, time_ms=9)


async def test_the_page_finds_no_stamp_where_there_is_none(browser: Browser) -> None:
    async with open_studio(browser) as studio:
        page = await studio.page("/healthz")
        damaged = np.zeros((64, 512, 3), np.uint8)
        stamp.draw(damaged, 1234, 5678)
        damaged[:16, 100:140] = 255 - damaged[:16, 100:140]
        noise = np.random.default_rng(3).integers(0, 255, (64, 512, 3), dtype=np.uint8)
        for image in (damaged, noise, np.zeros((64, 512, 3), np.uint8), np.zeros((64, 40, 3), np.uint8)):
            assert await read_in_page(page, image) is None
            assert stamp.read(image) is None
