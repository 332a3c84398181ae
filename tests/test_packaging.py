"""What is installed is ours, complete, and small enough to ship."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = {"pipelines", "streaming", "realtime"}


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_each_name_is_owned_by_this_project_only(room: str) -> None:
    """``streaming`` and ``realtime`` also exist on PyPI; two owners of one name would silently mix."""
    owners = set(importlib.metadata.packages_distributions().get(room, ["sdxs-live"]))
    assert owners == {"sdxs-live"}
    spec = importlib.util.find_spec(room)
    assert spec is not None
    assert spec.origin is not None
    assert Path(spec.origin).parent.parent == ROOT


def test_opencv_comes_without_a_window_system() -> None:
    """opencv-python needs libGL from the system and overwrites the headless one."""
    names = {(dist.metadata["Name"] or "").lower() for dist in importlib.metadata.distributions()}
    assert "opencv-python-headless" in names
    assert "opencv-python" not in names


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Built from a copy: an old build/ folder would be packed along, and the checkout stays clean."""
    folder, source = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("source")
    for room in ROOMS:
        shutil.copytree(ROOT / room, source / room, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(source)]
    subprocess.run(command, check=True, capture_output=True, timeout=170)
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_the_wheel_holds_the_three_rooms_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    top = {name.split("/")[0] for name in wheel.namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == ROOMS
    assert (
        "sdxs-live = realtime.cli:main"
        in wheel.read(next(name for name in wheel.namelist() if name.endswith("entry_points.txt"))).decode()
    )


def test_the_wheel_holds_the_page_and_the_model(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    for room, pattern in (("streaming", "web/*"), ("pipelines", "embedded/**/*")):
        files = {path.relative_to(ROOT).as_posix() for path in (ROOT / room).glob(pattern) if path.is_file()}
        assert files
        assert files <= names
    embedded = sum(info.file_size for info in wheel.infolist() if info.filename.startswith("pipelines/embedded/"))
    assert embedded <= 25_000_000
