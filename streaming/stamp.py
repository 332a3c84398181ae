"""The measuring stamp: one row of black and white cells along the top edge that says which frame this is and how old.

48 cells over the full width: 16 bits counter, 24 bits time in milliseconds, 8 bits CRC-8 (polynomial 0x07, start 0)
over those five bytes, most significant bit first; black is 0, white 1. Big cells survive any video encoder, and the
checksum tells a stamp from a picture. ``web/stamp.js`` reads and writes the same.
"""

from __future__ import annotations

import dataclasses
import itertools

import cv2
import numpy as np
from numpy.typing import NDArray

CELLS = 48
COUNTER_MODULUS = 1 << 16
TIME_MODULUS_MS = 1 << 24
#: Below this a cell has too few pixels left to survive an encoder.
MIN_WIDTH = 2 * CELLS

_THRESHOLD = 128


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Stamp:
    """What a stamp says. ``counter`` is modulo 2¹⁶, ``time_ms`` modulo 2²⁴ (4.6 hours)."""

    counter: int
    time_ms: int

    def age_ms(self, now_ms: int) -> int:
        """How long ago the stamp was drawn, on the same clock, in milliseconds; right for up to 4.6 hours."""
        return (now_ms - self.time_ms) % TIME_MODULUS_MS


def row_height(width: int) -> int:
    """Height in pixels of the stamp's row in a picture of this width."""
    return max(8, width // 32)


def draw(image: NDArray[np.uint8], counter: int, time_ms: int) -> None:
    """Draw the stamp into the top rows of uint8 H×W×3 ``image``, in place. Raises ValueError if it is too small."""
    height, width = image.shape[:2]
    if width < MIN_WIDTH or height < row_height(width):
        raise ValueError(f"A {width}×{height} picture is too small for a stamp; it takes {MIN_WIDTH}×8 pixels.")
    payload = (counter % COUNTER_MODULUS).to_bytes(2, "big") + (time_ms % TIME_MODULUS_MS).to_bytes(3, "big")
    bits = np.unpackbits(np.frombuffer(payload + bytes([_crc8(payload)]), np.uint8))
    widths = np.diff(_edges(width))
    image[: row_height(width)] = np.repeat(bits * np.uint8(255), widths)[None, :, None]


def read(image: NDArray[np.uint8]) -> Stamp | None:
    """The stamp of uint8 H×W×3 ``image``; None if there is none or the checksum fails."""
    height, width = image.shape[:2]
    row = row_height(width)
    if width < MIN_WIDTH or height < row:
        return None
    band = image[row // 4 : row - row // 4].mean(axis=(0, 2))
    edges = _edges(width)
    bits = [_middle(band, left, right) >= _THRESHOLD for left, right in itertools.pairwise(edges)]
    data = np.packbits(bits).tobytes()
    # All black has a right checksum too (a CRC that starts at 0), and a dark picture is no stamp.
    if _crc8(data[:5]) != data[5] or not any(data):
        return None
    return Stamp(counter=int.from_bytes(data[:2], "big"), time_ms=int.from_bytes(data[2:5], "big"))


def copy(source: NDArray[np.uint8], target: NDArray[np.uint8]) -> None:
    """Copy the stamp's row of ``source`` over that of ``target``, in place, resized to the target's width.

    ``source``: uint8 H×W×3. ``target``: another, or the planes of I420, uint8 (3H/2)×W.
    """
    width = target.shape[1]
    rows = row_height(width)
    band = np.ascontiguousarray(source[: row_height(source.shape[1])])
    resized = cv2.resize(band, (width, rows), interpolation=cv2.INTER_AREA)
    if target.ndim == 3:
        target[:rows] = resized
        return
    height = target.shape[0] * 2 // 3
    # Black is 16 and white 235 in video range; both are without colour.
    target[:rows] = (resized.mean(axis=2) * (219 / 255) + 16).round()
    for plane in target[height:].reshape(2, height // 2, width // 2):
        plane[: (rows + 1) // 2] = 128


def _middle(band: NDArray[np.float64], left: int, right: int) -> float:
    margin = (right - left) // 4
    return float(band[left + margin : right - margin].mean())


def _edges(width: int) -> NDArray[np.int64]:
    # floor(x + ½), as JavaScript's Math.round; Python's own rounds halves to even.
    return np.floor(np.arange(CELLS + 1) * width / CELLS + 0.5).astype(np.int64)


def _crc8(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = ((crc << 1) ^ 0x07 if crc & 0x80 else crc << 1) & 0xFF
    return crc
