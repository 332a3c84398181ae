"""Canvases to train on: 256² colour pictures made of photograph crops, cut-outs on grounds and drawn portraits.

Only their canny edges reach the model; its pictures are drawn from those edges (see ``styles`` and ``styled``).
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.training.drawn import portraits, rooms, subjects
from pipelines.training.drawn.sources import SOURCES, fetch
from pipelines.training.drawn.subjects import Cutout

SIZE = 256
FOLDER = Path(".data/embedded")  # unless another is given
_PHOTOGRAPHS, _PORTRAITS = 0.40, 0.27  # shares; the rest are collages of cut-outs
_LINED = 0.025  # least share of edge pixels of a canvas
Picture = NDArray[np.uint8]


def prepare(folder: Path, *, count: int, seed: int = 0) -> list[dict[str, str | int]]:
    """Write ``canvases.npy`` (count×256×256×3, uint8 RGB) and the files of ``subjects.prepare`` under ``folder``.

    ``sources.json`` there tells each source's name, version, licence, kind and how many pictures it gave; returned too.
    """
    rng = np.random.default_rng(seed)
    cutouts: list[Cutout] = []
    photographs: list[Picture] = []
    table: list[dict[str, str | int]] = []
    for source in SOURCES:
        paths = fetch(source, folder / "packages")
        read, into = (_read_photograph, photographs) if source.kind == "photograph" else (_read_cutout, cutouts)
        loaded = [picture for path in paths if (picture := read(path)) is not None]
        into += loaded
        if source.kind == "emoji":
            subjects.prepare(folder, paths)
        table.append({**source.described, "pictures": len(loaded)})
    _write(folder, count, photographs, cutouts, rng)
    (folder / "sources.json").write_text(json.dumps(table, indent=1), encoding="utf-8")
    return table


def _write(
    folder: Path, count: int, photographs: list[Picture], cutouts: list[Cutout], rng: np.random.Generator
) -> None:
    partial = folder / "canvases.part.npy"  # what reads the old file goes on with it
    canvases = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=(count, SIZE, SIZE, 3))
    for index in range(count):
        canvases[index] = _lined_canvas(photographs, cutouts, rng)
    canvases.flush()
    partial.replace(folder / "canvases.npy")


def random_crop(canvas: Picture, size: int, rng: np.random.Generator) -> Picture:
    """A size×size window of a canvas at 0.7 to 1.4 times its scale (never past its border), perhaps mirrored."""
    window = min(int(size * rng.uniform(0.7, 1.4)), SIZE)
    top, left = rng.integers(0, SIZE - window + 1, 2)
    crop = canvas[top : top + window, left : left + window]
    if window != size:
        crop = cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA if window > size else cv2.INTER_LINEAR)
    return np.ascontiguousarray(crop[:, ::-1] if rng.random() < 0.5 else crop)


def _read_cutout(path: Path) -> Cutout | None:
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if picture is None or picture.ndim != 3 or picture.shape[2] != 4 or min(picture.shape[:2]) < 48:
        return None
    return cv2.cvtColor(_shrink(picture, 320), cv2.COLOR_BGRA2RGBA)


def _read_photograph(path: Path) -> Picture | None:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None or min(picture.shape[:2]) < 512:
        return None
    return cv2.cvtColor(_shrink(picture, 1600), cv2.COLOR_BGR2RGB)


def _shrink(picture: NDArray[np.uint8], longest: int) -> NDArray[np.uint8]:
    scale = longest / max(picture.shape[:2])
    return cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else picture


def _lined_canvas(photographs: list[Picture], cutouts: list[Cutout], rng: np.random.Generator) -> Picture:
    """A canvas with enough lines to learn from, as far as some tries find one."""
    for _ in range(8):
        canvas = _canvas(photographs, cutouts, rng)
        if (cv2.Canny(canvas, 100, 200) > 0).mean() > _LINED:
            break
    return canvas


def _canvas(photographs: list[Picture], cutouts: list[Cutout], rng: np.random.Generator) -> Picture:
    draw = rng.random()
    if draw < _PHOTOGRAPHS:
        return _photograph_crop(photographs, rng)
    ground = _photograph_crop(photographs, rng) if rng.random() < 0.5 else rooms.plain_ground(SIZE, rng)
    if draw < _PHOTOGRAPHS + _PORTRAITS:
        return portraits.portrait(ground, rng)
    for _ in range(int(rng.choice([1, 2, 3, 5]))):
        ground = _paste(ground, cutouts[rng.integers(len(cutouts))], rng)
    return ground


def _photograph_crop(photographs: list[Picture], rng: np.random.Generator) -> Picture:
    picture = photographs[rng.integers(len(photographs))]
    height, width = picture.shape[:2]
    side = int(np.exp(rng.uniform(np.log(300), np.log(min(height, width)))))
    top, left = rng.integers(0, height - side + 1), rng.integers(0, width - side + 1)
    return cv2.resize(picture[top : top + side, left : left + side], (SIZE, SIZE), interpolation=cv2.INTER_AREA)


def _paste(ground: Picture, cutout: Cutout, rng: np.random.Generator) -> Picture:
    scale = float(rng.uniform(90, 330)) / max(cutout.shape[:2])
    height, width = (max(2, int(side * scale)) for side in cutout.shape[:2])
    turn = cv2.getRotationMatrix2D((0.0, 0.0), float(rng.normal(0, 12)), scale)
    turn[:, 2] = rng.uniform(-0.1, 1.1, 2) * SIZE - np.array([width, height]) * 0.5
    moved = cv2.warpAffine(cutout, turn, (SIZE, SIZE), flags=cv2.INTER_AREA).astype(np.float32)
    alpha = moved[..., 3:] / 255
    return (ground * (1 - alpha) + moved[..., :3] * alpha).astype(np.uint8)
