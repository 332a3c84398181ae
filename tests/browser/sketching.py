"""What the tests of the drawing canvas need: strokes in the canvas's own pixels, and the pixels that it shows."""

from __future__ import annotations

import base64

import cv2
import numpy as np
from numpy.typing import NDArray
from playwright.async_api import Page

from tests.browser.studio import Studio
from tests.webrtc import eventually

Point = tuple[float, float]

#: The canvas's pixels, RGBA, as base64.
PIXELS = """() => {
    const canvas = document.querySelector("#sketch");
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let bytes = "";
    for (let at = 0; at < data.length; at += 8192) bytes += String.fromCharCode(...data.subarray(at, at + 8192));
    return [canvas.height, canvas.width, btoa(bytes)];
}"""


async def shown(page: Page) -> NDArray[np.uint8]:
    """What is on the canvas: uint8 H×W×3. Nothing on it is transparent."""
    height, width, pixels = await page.evaluate(PIXELS)
    rgba = np.frombuffer(base64.b64decode(pixels), np.uint8).reshape(height, width, 4)
    assert (rgba[..., 3] == 255).all()
    return rgba[..., :3]


async def on_page(page: Page, *points: Point) -> list[Point]:
    """Where points of the canvas, in its own pixels, are in the window."""
    box = await page.locator("#sketch").bounding_box()
    assert box is not None
    width, height = await page.evaluate("(({ width, height }) => [width, height])(document.querySelector('#sketch'))")
    return [(box["x"] + x * box["width"] / width, box["y"] + y * box["height"] / height) for x, y in points]


async def stroke(page: Page, *points: Point, steps: int = 8) -> None:
    """Draw through these points with the mouse."""
    first, *others = await on_page(page, *points)
    await page.mouse.move(*first)
    await page.mouse.down()
    for point in others:
        await page.mouse.move(*point, steps=steps)
    await page.mouse.up()


async def arrives(studio: Studio, picture: NDArray[np.uint8]) -> None:
    """Wait until the session has exactly this picture as its newest drawing."""
    session = studio.hub.only()
    await eventually(
        lambda: session.drawings and np.array_equal(session.drawings[-1], picture), "this drawing is the newest"
    )


def ink(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """How black each pixel is, 0 to 1, of a picture without colours."""
    assert (picture == picture[..., :1]).all()
    return 1 - picture[..., 0] / 255


def png(picture: NDArray[np.uint8]) -> bytes:
    done, data = cv2.imencode(".png", picture)
    assert done
    return data.tobytes()
