"""A Chromium to measure and test with: where it is, and how it is started headless with a fake camera."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from realtime.bench.errors import CantRun

if TYPE_CHECKING:
    from playwright.async_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless=new",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--no-sandbox",
    "--disable-gpu",
    # No talk to the outside: a measurement or a test is between this machine and itself.
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class NoBrowser(CantRun):
    """There is no Chromium here, or no Playwright to drive it."""


def chromium_path() -> str:
    """``$CHROMIUM``, one on the PATH, or the one that Playwright brought. Raises NoBrowser."""
    named = os.environ.get("CHROMIUM")
    found = named or next((path for path in map(shutil.which, NAMES) if path), None) or _playwrights_own()
    if found and Path(found).exists():
        return found
    raise NoBrowser(
        f"{named or 'Chromium'} is not here; install it (Debian: apt install chromium, elsewhere: "
        "playwright install chromium) or set $CHROMIUM to one."
    )


def _playwrights_own() -> str | None:
    folders = [Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or Path.home() / ".cache/ms-playwright")]
    folders.append(Path.home() / "Library/Caches/ms-playwright")
    patterns = ("chromium-*/chrome-linux*/chrome", "chromium-*/chrome-mac*/*.app/Contents/MacOS/*")
    return next((str(path) for folder in folders for pattern in patterns for path in folder.glob(pattern)), None)


@asynccontextmanager
async def chromium(*, camera: Path | None = None, flags: tuple[str, ...] = ()) -> AsyncIterator[Browser]:
    """A headless browser with a profile of its own. ``camera``: a y4m file that its fake camera plays, looped.

    Raises NoBrowser.
    """
    try:
        from playwright.async_api import async_playwright
    except ImportError:
        raise NoBrowser("Playwright is not installed; pip install 'sdxs-live[bench]'.") from None
    more = (f"--use-file-for-fake-video-capture={camera}",) if camera else ()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium_path(),
            args=[*FLAGS, *more, *flags],
            # The old headless mode has no camera; the new one is named in FLAGS.
            ignore_default_args=["--headless"],
        )
        try:
            yield browser
        finally:
            await browser.close()
