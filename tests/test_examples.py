"""Every example runs, on generated input, as its first line says."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from pathlib import Path

import aiohttp
import av
import cv2
import numpy as np
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
PICTURES = ("paint_picture.py", "many_styles.py")
FILMS = ("file_to_file.py", "webcam.py")


def test_every_example_is_run_by_a_test_and_short() -> None:
    scripts = {path.name for path in EXAMPLES.glob("*.py")}
    assert scripts == {*PICTURES, *FILMS, "own_server.py", "sketch_to_image.py", "text_to_image.py"}
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


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)


def test_text_to_image(tmp_path: Path) -> None:
    done = run("text_to_image.py", str(tmp_path / "out.png"), "--prompt", "stained glass window")
    assert done.returncode == 0, done.stderr
    painted = cv2.imread(str(tmp_path / "out.png"))
    assert painted.shape == (256, 256, 3)
    assert painted.std() > 20, "the picture is nearly one colour"


def test_sketch_to_image(tmp_path: Path) -> None:
    drawing = np.full((300, 300, 3), 255, np.uint8)
    cv2.circle(drawing, (150, 150), 90, (0, 0, 0), 6)
    cv2.imwrite(str(tmp_path / "in.png"), drawing)
    done = run("sketch_to_image.py", str(tmp_path / "in.png"), str(tmp_path / "out.png"))
    assert done.returncode == 0, done.stderr
    painted = cv2.imread(str(tmp_path / "out.png"))
    on_the_stroke, beside = painted[128 - 77 - 3 : 128 - 77 + 4, 128], painted[128, 128]
    assert np.abs(on_the_stroke.max(axis=0).astype(int) - beside).max() > 60, "the stroke can't be seen"


@pytest.mark.parametrize("extra", [[], ["--prompt-b", "neon lights at night"]])
def test_file_to_file(extra: list[str], tmp_path: Path) -> None:
    write_clip(tmp_path / "in.mp4", frames=12)
    done = run("file_to_file.py", str(tmp_path / "in.mp4"), str(tmp_path / "out.mp4"), *extra)
    assert done.returncode == 0, done.stderr
    assert count_frames(tmp_path / "out.mp4") == 12


def test_webcam(tmp_path: Path) -> None:
    done = run("webcam.py", str(tmp_path / "out.mp4"), "--source", "test:", "--pictures", "5")
    assert done.returncode == 0, done.stderr
    assert count_frames(tmp_path / "out.mp4") == 5


@pytest.mark.parametrize("name", FILMS)
def test_film_examples_say_what_is_wrong(name: str, tmp_path: Path) -> None:
    source = str(tmp_path / "none.mp4")
    arguments = (
        [str(tmp_path / "out.mp4"), "--source", source] if name == "webcam.py" else [source, str(tmp_path / "o.mp4")]
    )
    done = run(name, *arguments)
    assert done.returncode == 2
    assert "none.mp4" in done.stderr.splitlines()[-1]


def write_clip(path: Path, *, frames: int) -> None:
    with av.open(str(path), "w") as film:
        stream = film.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 128, 128, "yuv420p"
        for i in range(frames):
            picture = np.full((128, 128, 3), 40, np.uint8)
            cv2.circle(picture, (30 + 4 * i, 64), 20, (240, 200, 60), -1)
            film.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        film.mux(stream.encode())


def count_frames(path: Path) -> int:
    with av.open(str(path)) as film:
        return sum(1 for _ in film.decode(video=0))


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
