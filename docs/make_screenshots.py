"""Take docs/studio.jpg and its siblings anew: python docs/make_screenshots.py

The real program in a real browser, whose fake camera slowly pans over a photograph that scikit-image ships.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import cv2
import numpy as np
from playwright.async_api import Browser
from skimage import data

from realtime.bench.browser import chromium
from realtime.bench.e2e import server
from streaming.frame import Frame

DOCS = Path(__file__).parent
SIDE, FPS, FRAMES = 512, 30, 120
SHOTS = {"studio": (1280, 860), "studio-phone": (390, 844), "studio-projector": (1920, 1080)}


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


async def shoot(browser: Browser, url: str, name: str, size: tuple[int, int]) -> None:
    page = await browser.new_page(
        viewport={"width": size[0], "height": size[1]}, device_scale_factor=1.25, color_scheme="dark"
    )
    await page.goto(url)
    await page.click("#start")
    await page.wait_for_function("document.querySelector('#output').videoWidth > 0")
    await page.select_option("#preset", label="Neon")
    await page.wait_for_selector("#cue[data-seq]", state="attached")
    await page.wait_for_timeout(4000)  # so that the numbers have settled
    await page.screenshot(path=DOCS / f"{name}.jpg", quality=86)
    await page.click("#stop")
    await page.close()


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        clip = camera_clip(Path(folder) / "camera.y4m")
        async with server("embedded") as url, chromium(camera=clip) as browser:
            for name, size in SHOTS.items():
                await shoot(browser, url, name, size)


if __name__ == "__main__":
    asyncio.run(main())
