"""Condition maps of training pictures, drawn as varied as they will come from cameras."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.condition import Conditioner
from pipelines.conditioners import make_conditioners
from pipelines.errors import TrainingError
from pipelines.settings import Kind, Settings

Picture = NDArray[np.uint8]
#: uint8 H×W×3 RGB and the sample's own chance → uint8 H×W in the polarity of ``condition.DRAWN``.
MapDrawer = Callable[[Picture, np.random.Generator], NDArray[np.uint8]]

_WEBCAM = 256  # pixels: the short side that the blurs below are meant for; larger pictures are blurred wider


def draw_map(kind: str, picture: Picture, rng: np.random.Generator) -> NDArray[np.float32]:
    """float32 3×H×W in [0, 1] of uint8 H×W×3 RGB, in the polarity of ``condition.DRAWN``.

    Raises TrainingError for a kind nobody draws, and DownloadError or CheckpointError where a detector's weights can't
    be had.
    """
    if kind not in _DRAWERS:
        raise TrainingError(f"Nothing here draws the map {kind!r}, only {', '.join(_DRAWERS)}; see maps.add_map.")
    drawn = _DRAWERS[kind](picture, rng)
    return np.repeat((drawn.astype(np.float32) / np.float32(255))[None], 3, 0)


def add_map(kind: str, drawer: MapDrawer) -> None:
    """Have the maps of ``kind`` drawn by ``drawer`` from now on: a new kind, or another detector for a known one."""
    _DRAWERS[kind] = drawer


def webcam_edges(picture: Picture, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Canny edges (H×W, 0 or 255) as a webcam would give them: sensor noise, blur, compression, any thresholds."""
    if rng.random() < 0.5:
        wider = max(1.0, min(picture.shape[:2]) / _WEBCAM)
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), wider * rng.uniform(0.4, 1.0)), np.uint8)
    if rng.random() < 0.4:
        noise = rng.normal(0, rng.uniform(1, 6), picture.shape)
        picture = np.clip(picture + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.3:
        _, packed = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(40, 90))])
        picture = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)
    low, ratio = (100.0, 2.0) if rng.random() < 0.4 else (float(rng.uniform(60, 160)), float(rng.uniform(1.7, 2.3)))
    return np.asarray(cv2.Canny(picture, low, low * ratio), np.uint8)


def _conditioned(kind: Kind) -> MapDrawer:
    """As the conditioner of the live loop draws it, each picture a stream of its own."""

    def draw(picture: Picture, rng: np.random.Generator) -> NDArray[np.uint8]:
        return _conditioner(kind).drawer()(picture, Settings(control=kind)).map

    return draw


@cache
def _conditioner(kind: Kind) -> Conditioner:
    return make_conditioners([kind], device=torch.device("cpu"))[kind]


_DRAWERS: dict[str, MapDrawer] = {
    "canny": webcam_edges,
    "sketch": _conditioned("sketch"),
    "depth": _conditioned("depth"),
}
