"""Capture to displayed picture in a real browser, by stamped frames: page → WHIP → model → WHEP → ``<video>``."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp

from realtime.bench.browser import chromium
from realtime.bench.report import Report, Row

SIDE, FPS, WARM_UP = 512, 30, 5.0


def run(*, model: str = "embedded", seconds: float = 20.0) -> Report:
    """Server and browser on this machine, a 512² canvas at 30 frames/s. Raises NoBrowser or RuntimeError."""
    found = asyncio.run(_measure(model, seconds))
    ages, model_ms = found["ages"], found["model_ms"]
    without = [age - model_ms for age in ages]
    return Report(
        what="e2e",
        timed=(
            f"{SIDE}² at {FPS} frames/s drawn in the page → server → <video> at {found['width']}×{found['height']}, "
            "Chromium and server on the same machine"
        ),
        rows=[
            Row(name="age of a shown picture", milliseconds=ages),
            Row(name="the same less the model's time", milliseconds=without, note=f"model: {model_ms:.1f} ms"),
        ],
        figures={
            "shown frames/s": round(len(ages) / seconds, 1),
            "in order": str(in_order(found["counters"])),
            "stamps that couldn't be read": found["unreadable"],
            "model ms": round(model_ms, 1),
        },
    )


def in_order(counters: list[int]) -> bool:
    """The counter has 16 bits; a step back shows as a step of more than half of them."""
    return all((after - before) % 65536 < 32768 for before, after in pairwise(counters))


def script(url: str, options: dict[str, Any]) -> tuple[str, list[Any]]:
    """What ``page.evaluate`` takes to run e2e.js on a page of the server at ``url``; answers what it measured."""
    source = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
    load = """async ([source, options]) => {
        const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
        return (await import(url)).measure(options);
    }"""
    # A module from a blob has no base address of its own.
    return load, [source.replace('import("/static', f'import("{url}/static'), options]


async def _measure(model: str, seconds: float) -> dict[str, Any]:
    async with server(model, "--copy-stamp") as url, chromium() as browser:
        page = await browser.new_page()
        await page.goto(f"{url}/healthz")  # any page of that origin will do
        options = {"side": SIDE, "fps": FPS, "warmup": WARM_UP, "seconds": seconds, "session": "e2e"}
        found: dict[str, Any] = await page.evaluate(*script(url, options))
    if not found["ages"]:
        raise RuntimeError("No stamped picture came back; is the server's log silent?")
    return found


@asynccontextmanager
async def server(model: str, *options: str) -> AsyncIterator[str]:
    """The real program on a port of its own, warm."""
    port = _free_port()
    command = [sys.executable, "-m", "realtime", "serve", "--model", model, "--port", str(port), *options]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    try:
        await _until_ready(f"http://127.0.0.1:{port}/healthz", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def _until_ready(url: str, process: asyncio.subprocess.Process, deadline: float = 120.0) -> None:
    end = asyncio.get_running_loop().time() + deadline
    async with aiohttp.ClientSession() as http:
        while process.returncode is None and asyncio.get_running_loop().time() < end:
            try:
                async with http.get(url) as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.1)
    raise RuntimeError("The server did not get ready; run `sdxs-live serve` to see why.")
