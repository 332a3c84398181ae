"""Capture to displayed picture in a real browser, by stamped frames: page → WHIP → model → WHEP → ``<video>``."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path
from typing import Any

from realtime.bench.browser import chromium, chromium_path
from realtime.bench.errors import CantRun, need
from realtime.bench.report import Report, Row, Table, percentile
from realtime.bench.weights import subject

SIDE, FPS, WARM_UP = 512, 30, 5.0


def run(*, model: str = "auto", seconds: float = 20.0) -> Report:
    """Server and browser on this machine, a 512² canvas at 30 frames/s.

    Raises CantRun where browser or packages are missing, or no picture comes back.
    """
    need("av", "aiortc", "aiohttp", "controlnet-aux", "playwright")
    chromium_path()
    with subject(model) as what:
        found = asyncio.run(_measure(what.name, seconds))
    ages, model_ms = found["ages"], found["model_ms"]
    without = [age - model_ms for age in ages]
    return Report(
        what="e2e",
        timed=(
            f"{SIDE}² at {FPS} frames/s drawn in the page → server → <video> at {found['width']}×{found['height']}, "
            "Chromium and server on the same machine"
        ),
        subject=what.about(),
        rows=[
            Row(name="age of a shown picture", milliseconds=ages),
            Row(name="the same less the model's time", milliseconds=without, note=f"model: {model_ms:.1f} ms"),
        ],
        tables=[_shares(found)],
        figures={
            "shown frames/s": round(len(ages) / seconds, 1),
            "in order": str(in_order(found["counters"])),
            "stamps that couldn't be read": found["unreadable"],
            "model ms": round(model_ms, 1),
        },
    )


def _shares(found: dict[str, Any]) -> Table:
    """Where the milliseconds go, as far as somebody measured them: the browser its own parts, the server its own."""
    age, browser, server = percentile(found["ages"], 50), found["browser"], found["server_ms"]["p50"]
    parts = {
        "browser encodes": browser["encode"],
        "server, from decoded to painted": server - found["model_ms"],
        "the model, within that": found["model_ms"],
        "browser waits in its jitter buffer": browser["wait"],
        "browser decodes": browser["decode"],
    }
    parts["the rest: canvas, network, the server's codecs, display"] = age - sum(each or 0.0 for each in parts.values())
    return Table(
        name="where the milliseconds go",
        about=f"of the median age, {age:.1f} ms; the browser's parts are means, the server's medians, so the rest, "
        "which is what they leave of the age, is good to some ms only",
        rows=[
            {
                "part": name,
                "ms": None if ms is None else round(ms, 1),
                "share": None if ms is None else f"{ms / age:.0%}",
            }
            for name, ms in parts.items()
        ],
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
    from realtime.bench.server import server

    async with server(model, "--copy-stamp") as url, chromium() as browser:
        page = await browser.new_page()
        await page.goto(f"{url}/healthz")  # any page of that origin will do
        options = {"side": SIDE, "fps": FPS, "warmup": WARM_UP, "seconds": seconds, "session": "e2e"}
        found: dict[str, Any] = await page.evaluate(*script(url, options))
    if not found["ages"]:
        raise CantRun("No stamped picture came back; is the server's log silent?")
    return found
