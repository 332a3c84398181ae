"""Every example runs, on generated input, as its first line says."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from pathlib import Path

import aiohttp
import cv2
import numpy as np
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
PICTURES = ("paint_picture.py", "many_styles.py")


def test_every_example_is_run_by_a_test_and_short() -> None:
    scripts = {path.name for path in EXAMPLES.glob("*.py")}
    assert scripts == {*PICTURES, "own_server.py"}
    for path in EXAMPLES.iterdir():
        if path.is_file():
            assert len(path.read_text(encoding="utf-8").splitlines()) < 80, path.name


@pytest.mark.parametrize("name", PICTURES)
def test_picture_examples(name: str, tmp_path: Path) -> None:
    picture = np.full((300, 400, 3), 90, np.uint8)
    cv2.circle(picture, (200, 150), 90, (30, 200, 240), -1)
    cv2.imwrite(str(tmp_path / "in.png"), picture)
    command = [sys.executable, str(EXAMPLES / name), str(tmp_path / "in.png"), str(tmp_path / "out.png")]
    subprocess.run(command, check=True, timeout=150)
    painted = cv2.imread(str(tmp_path / "out.png"))
    assert painted.shape[0] == 256
    assert painted.std() > 20, "the picture is nearly one colour"


@pytest.mark.parametrize("name", PICTURES)
def test_picture_examples_say_what_is_wrong(name: str, tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / name), str(tmp_path / "none.png"), str(tmp_path / "out.png")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 2
    assert "none.png is no picture" in done.stderr


async def test_own_server() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, str(EXAMPLES / "own_server.py"), "--port", str(port)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    try:
        assert "mine" in await asyncio.wait_for(_get(f"http://127.0.0.1:{port}/hello", process), 60)
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), 20)


async def _get(url: str, process: asyncio.subprocess.Process) -> str:
    async with aiohttp.ClientSession() as http:
        while process.returncode is None:
            try:
                async with http.get(url) as response:
                    return await response.text()
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.1)
    raise AssertionError(f"the example ended with {process.returncode}")
