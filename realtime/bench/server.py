"""The real program in a process of its own: when its page answers, when it is ready, and what it takes."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import aiohttp

from realtime.bench.errors import CantRun

#: A GPU may have to compile first.
PATIENCE_SECONDS = 600.0


class Server:
    """``sdxs-live serve`` at ``url``. Times are seconds since it was started."""

    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self.url, self.pid = url, process.pid
        self._process = process
        self._began = time.monotonic()

    async def until(self, holds: Callable[[aiohttp.ClientSession], Awaitable[bool]], *, every: float = 0.02) -> float:
        """When it first held. Raises CantRun when the program ends before that, or ten minutes pass."""
        async with aiohttp.ClientSession(self.url) as http:
            while self._process.returncode is None and time.monotonic() - self._began < PATIENCE_SECONDS:
                try:
                    if await holds(http):
                        return time.monotonic() - self._began
                except aiohttp.ClientConnectionError:
                    pass
                await asyncio.sleep(every)
        raise CantRun("The server did not get ready; run `sdxs-live serve` to see why.")

    async def until_page(self) -> float:
        return await self.until(lambda http: _answers(http, "/"))

    async def until_ready(self) -> float:
        return await self.until(lambda http: _answers(http, "/healthz"))

    async def until_painted(self, session: str, *, frames: int = 1) -> float:
        """So many painted frames of a session were delivered."""

        async def holds(http: aiohttp.ClientSession) -> bool:
            async with http.get("/api/sessions") as response:
                rows = await response.json() if response.status == 200 else []
                return any(row["name"] == session and row["frames_out"] >= frames for row in rows)

        return await self.until(holds)


async def _answers(http: aiohttp.ClientSession, path: str) -> bool:
    async with http.get(path) as response:
        return response.status == 200


@asynccontextmanager
async def started(model: str, *options: str, environment: Mapping[str, str] | None = None) -> AsyncIterator[Server]:
    """The program with these options on a port of its own; it may not be ready yet."""
    port = _free_port()
    command = [sys.executable, "-m", "realtime", "serve", "--model", model, "--port", str(port), *options]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, env={**os.environ, **(environment or {})}
    )
    try:
        yield Server(process, f"http://127.0.0.1:{port}")
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@asynccontextmanager
async def server(model: str, *options: str) -> AsyncIterator[str]:
    """The address of the program, warm."""
    async with started(model, *options) as running:
        await running.until_ready()
        yield running.url


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
