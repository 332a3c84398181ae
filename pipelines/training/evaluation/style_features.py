"""What a picture looks like, whatever it shows: numbers by which styles can be told apart.

Colours: a joint histogram, mean and spread. Strokes: histograms of gradients at three scales and of their directions.
Texture: local binary patterns, and the share of each octave of the spectrum. Nothing of it is learned.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Features = NDArray[np.float64]
SIDE = 256
_COLOURS, _GRADIENTS, _DIRECTIONS, _RINGS = 5, 12, 8, 16
_PATTERNS = 10  # of eight neighbours: nine uniform ones and the rest


def style_features(pictures: Sequence[Picture]) -> Features:
    """N×D of uint8 H×W×3 RGB pictures, looked at with 256 pixels a side."""
    return np.stack([_of(cv2.resize(each, (SIDE, SIDE), interpolation=cv2.INTER_AREA)) for each in pictures])


def _of(picture: Picture) -> Features:
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    scales = [cv2.resize(grey, (SIDE >> octave,) * 2, interpolation=cv2.INTER_AREA) for octave in range(3)]
    return np.concatenate([_colours(picture), *map(_strokes, scales), _patterns(grey), _spectrum(grey)])


def _colours(picture: Picture) -> Features:
    flat = picture.reshape(-1, 3)
    cells = (flat.astype(np.int64) * _COLOURS // 256) @ (_COLOURS**2, _COLOURS, 1)
    joint = np.bincount(cells, minlength=_COLOURS**3) / len(flat)
    lab = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB).reshape(-1, 3).astype(np.float64) / 255
    return np.concatenate([np.sqrt(joint), lab.mean(0), lab.std(0)])


def _strokes(grey: Picture) -> Features:
    across, down = (cv2.Sobel(grey, cv2.CV_32F, *order) for order in ((1, 0), (0, 1)))
    strength = np.hypot(across, down)
    steps = np.histogram(np.log2(1 + strength), bins=_GRADIENTS, range=(0, 10.5))[0] / grey.size
    turned = np.mod(np.arctan2(down, across), np.pi)
    ways = np.histogram(turned, bins=_DIRECTIONS, range=(0, np.pi), weights=strength)[0]
    return np.concatenate([np.sqrt(steps), ways / max(float(ways.sum()), 1e-9)])


def _patterns(grey: Picture) -> Features:
    from skimage.feature import local_binary_pattern

    codes = local_binary_pattern(grey, 8, 1, "uniform")
    return np.sqrt(np.histogram(codes, bins=_PATTERNS, range=(0, _PATTERNS))[0] / grey.size)


def _spectrum(grey: Picture) -> Features:
    power = np.abs(np.fft.rfft2(grey - grey.mean())) ** 2
    rows, columns = np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None]
    ring = np.minimum(np.hypot(rows, columns) * 2 * _RINGS, _RINGS - 1).astype(int)
    mean = np.bincount(ring.ravel(), power.ravel()) / np.bincount(ring.ravel())
    return np.log10(1 + mean) / 10
