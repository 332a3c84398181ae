"""Take docs/studio.jpg and its siblings anew: python docs/make_screenshots.py

The real program in a real browser, whose fake camera slowly pans over a photograph that scikit-image ships. The drawing
is drawn by the mouse.
"""

from __future__ import annotations

import asyncio
import dataclasses
import math
import tempfile
from pathlib import Path

import cv2
import numpy as np
from playwright.async_api import Browser, Page
from skimage import data

from realtime.bench.browser import chromium
from realtime.bench.server import server
from streaming.frame import Frame

DOCS = Path(__file__).parent
SIDE, FPS, FRAMES = 512, 30, 120


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shot:
    """One picture of the docs: its size, the studio's mode and the style that is chosen."""

    size: tuple[int, int] = (1280, 860)
    mode: str = "camera"
    style: str = "Neon"


SHOTS = {
    "studio": Shot(),
    "studio-phone": Shot(size=(390, 844)),
    "studio-projector": Shot(size=(1920, 1080), style="Comic"),
    "studio-draw": Shot(mode="draw", style="Blueprint"),
    "studio-draw-phone": Shot(size=(390, 844), mode="draw", style="Chalk"),
    "studio-imagine": Shot(mode="imagine", style="Stained glass"),
}

Line = list[tuple[float, float]]


def arc(x: float, y: float, radius: float, start: float = 0.0, end: float = 360.0, *, high: float = 1.0) -> Line:
    """Points on a circle, or an ellipse ``high`` times as high as wide; degrees, clockwise from the right."""
    angles = [math.radians(start + (end - start) * step / 24) for step in range(25)]
    return [(x + radius * math.cos(angle), y + high * radius * math.sin(angle)) for angle in angles]


#: A sailing boat under the sun, in parts of the canvas.
BOAT: list[Line] = [
    [(0.18, 0.68), (0.27, 0.82), (0.67, 0.82), (0.78, 0.68), (0.18, 0.68)],
    [(0.46, 0.68), (0.46, 0.16)],
    [(0.49, 0.2), (0.74, 0.6), (0.49, 0.6), (0.49, 0.2)],
    [(0.43, 0.26), (0.22, 0.6), (0.43, 0.6), (0.43, 0.26)],
    arc(0.84, 0.17, 0.08),
    *(
        [*arc(x, 0.87, 0.05, 180, 0, high=0.5), *arc(x + 0.1, 0.87, 0.05, 180, 360, high=0.5)]
        for x in (0.1, 0.3, 0.5, 0.7)
    ),
    *(arc(x + side * 0.045, 0.2 + x / 8, 0.045, 200, 340, high=0.7) for x in (0.14, 0.3) for side in (-1, 1)),
]


def camera_clip(path: Path) -> Path:
    """A y4m file for the fake camera."""
    photograph = cv2.resize(data.astronaut(), (600, 600), interpolation=cv2.INTER_AREA)
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{SIDE} H{SIDE} F{FPS}:1 Ip A1:1 C420jpeg\n".encode())
        for index in range(FRAMES):
            x, y = (int(44 + 40 * wave(2 * np.pi * index / FRAMES)) for wave in (np.sin, np.cos))
            image = np.ascontiguousarray(photograph[y : y + SIDE, x : x + SIDE])
            picture = Frame(image=image, seq=index, pts=index).to_video_frame()
            file.write(b"FRAME\n" + picture.to_ndarray(format="yuv420p").tobytes())
    return path


async def draw(page: Page, lines: list[Line]) -> None:
    """With the mouse and a brush that is thin for the small model's size."""
    await page.evaluate(
        "const size = document.querySelector('#brush-size'); size.value = 4;"
        " size.dispatchEvent(new Event('input', { bubbles: true }))"
    )
    box = await page.locator("#sketch").bounding_box()
    assert box is not None
    for line in lines:
        first, *others = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in line]
        await page.mouse.move(*first)
        await page.mouse.down()
        for point in others:
            await page.mouse.move(*point, steps=4)
        await page.mouse.up()


async def shoot(browser: Browser, url: str, name: str, shot: Shot) -> None:
    width, height = shot.size
    page = await browser.new_page(
        viewport={"width": width, "height": height}, device_scale_factor=1.25, color_scheme="dark"
    )
    await page.goto(f"{url}/?mode={shot.mode}")
    await page.click("#start")
    await page.wait_for_function("document.querySelector('#output').videoWidth > 0")
    await page.select_option("#preset", label=shot.style)
    if shot.mode == "draw":
        await draw(page, BOAT)
    if shot.mode == "imagine":
        await page.select_option("#walk", "seeds")
    await page.wait_for_selector("#cue[data-seq]", state="attached")
    await page.wait_for_timeout(4000)  # so that the numbers have settled
    await page.screenshot(path=DOCS / f"{name}.jpg", quality=86)
    await page.click("#stop")
    await page.close()


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        clip = camera_clip(Path(folder) / "camera.y4m")
        async with server("embedded") as url, chromium(camera=clip) as browser:
            for name, shot in SHOTS.items():
                await shoot(browser, url, name, shot)


if __name__ == "__main__":
    asyncio.run(main())
