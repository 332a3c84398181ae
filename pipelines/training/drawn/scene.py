"""What the styles draw from: an edge map and coarse colours, as lines, distances, relief and light."""

from __future__ import annotations

from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]  # H×W
Image = NDArray[np.float32]  # H×W×3, RGB in [0, 1]

FAR = 64.0  # pixels; distances are cut here, further than a small network can see


class Scene:
    """One picture to draw: ``edges`` H×W uint8 (0 or 255), ``colours`` H×W×3 RGB in [0, 1], what colour belongs where.

    ``tint``: the hue in 0..1 that a colour word asks for, or None.
    """

    def __init__(self, edges: NDArray[np.uint8], colours: Image, tint: float | None = None) -> None:
        self.height, self.width = edges.shape
        self.edges: Plane = (edges > 0).astype(np.float32)
        self.colours = colours
        self.tint = tint

    def glow(self, sigma: float) -> Plane:
        """The edges blurred by a Gaussian of ``sigma`` pixels."""
        return blurred(self.edges, sigma)

    def line(self, width: float = 1.6) -> Plane:
        """Anti-aliased lines in 0..1, ``width`` pixels where they stand alone, hair lines where they crowd."""
        return (self._smooth_line(width) * (1 - self.crowd) + self._smooth_line(1.25) * self.crowd).astype(np.float32)

    @cached_property
    def crowd(self) -> Plane:
        """0 where lines stand alone, 1 where they are so close that wide ones would run into a blot."""
        return step(self.glow(4), 0.10, 0.24)

    def _smooth_line(self, width: float) -> Plane:
        sigma = 0.5 * width
        straight = self.glow(sigma) * (sigma * 2.5)  # 1 in the middle of a lone straight line: its stairs are gone
        return step(straight, 0.30, 0.85)

    @cached_property
    def distance(self) -> Plane:
        """Pixels to the nearest edge, 0..FAR."""
        if not self.edges.any():
            return np.full_like(self.edges, FAR)
        away = cv2.distanceTransform((self.edges == 0).astype(np.uint8), cv2.DIST_L2, 5)
        return np.minimum(away, FAR).astype(np.float32)

    def near(self, reach: float) -> Plane:
        """1 on an edge, falling to 1/e at ``reach`` pixels from it."""
        return np.exp(-self.distance / np.float32(reach)).astype(np.float32)

    @cached_property
    def relief(self) -> tuple[Plane, Plane]:
        """Slopes (down the x and y axes) of cushions swelling between the edges."""
        radius = 16.0
        near = np.minimum(self.distance, radius) / radius
        height = radius * np.sqrt(np.maximum(1 - (1 - near) ** 2, 0))
        smooth = cv2.GaussianBlur(height.astype(np.float32), (0, 0), 1.6)
        return cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=1 / 8)

    @cached_property
    def direction(self) -> tuple[Plane, Plane]:
        """Which way the nearby lines run: 1 level, −1 upright, and 1 rising, −1 falling; 0 where nothing prevails."""
        ridge = self.glow(1.5)
        x, y = cv2.Sobel(ridge, cv2.CV_32F, 1, 0), cv2.Sobel(ridge, cv2.CV_32F, 0, 1)
        level, rising, both = (cv2.GaussianBlur(part, (0, 0), 6) for part in (y * y - x * x, 2 * x * y, x * x + y * y))
        return level / (both + 1e-4), rising / (both + 1e-4)


WHEEL = np.array(  # twelve pigments from red through green, blue and violet, chosen to look equally strong
    [
        [0.93, 0.20, 0.22],
        [0.98, 0.50, 0.16],
        [0.99, 0.80, 0.22],
        [0.62, 0.82, 0.24],
        [0.14, 0.72, 0.36],
        [0.08, 0.72, 0.66],
        [0.14, 0.64, 0.94],
        [0.20, 0.38, 0.94],
        [0.40, 0.28, 0.90],
        [0.64, 0.30, 0.90],
        [0.88, 0.28, 0.78],
        [0.97, 0.25, 0.50],
    ],
    np.float32,
)


def rainbow(hue: Plane | float, depth: float = 1.0) -> Image:
    """Colour wheel: red at 0, green at 1/3, blue at 7/12, round to red at 1; ``depth`` 0 is grey, 1 is vivid."""
    turns = np.asarray(hue, np.float32) % 1 * len(WHEEL)
    low = np.floor(turns).astype(np.int64) % len(WHEEL)
    share = (turns - np.floor(turns))[..., None]
    vivid = WHEEL[low] * (1 - share) + WHEEL[(low + 1) % len(WHEEL)] * share
    return (0.6 + (vivid - 0.6) * depth).astype(np.float32)


def step(value: Plane, low: float, high: float) -> Plane:
    """Smooth step from 0 at ``low`` to 1 at ``high``."""
    x = np.clip((value - low) / (high - low), 0, 1)
    return (x * x * (3 - 2 * x)).astype(np.float32)


def mix(under: Image, over: Image, amount: Plane | float) -> Image:
    """Blend by ``amount`` 0..1 (a plane or one number)."""
    share = amount[..., None] if isinstance(amount, np.ndarray) and amount.ndim == 2 else amount
    return (under + (over - under) * share).astype(np.float32)


def flat(scene: Scene, red: float, green: float, blue: float) -> Image:
    """A plain ground."""
    return np.broadcast_to(np.array([red, green, blue], np.float32), (scene.height, scene.width, 3)).copy()


def shifted(picture: NDArray[np.float32], right: float, down: float) -> NDArray[np.float32]:
    """A plane or an image moved by so many pixels, zeros flowing in."""
    move = np.array([[1, 0, right], [0, 1, down]], np.float32)
    return np.asarray(cv2.warpAffine(picture, move, (picture.shape[1], picture.shape[0])), np.float32)


def blurred(picture: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Gaussian blur; wide ones are done on a smaller picture, which looks the same and takes a tenth of the time."""
    if sigma < 6:
        return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.float32)
    height, width = picture.shape[:2]
    small = cv2.resize(picture, (max(1, width // 4), max(1, height // 4)), interpolation=cv2.INTER_AREA)
    soft = cv2.GaussianBlur(small, (0, 0), sigma / 4)
    return np.asarray(cv2.resize(soft, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)


def tiled(tile: Plane, scene: Scene) -> Plane:
    """A small tile laid over the whole picture; its sides divide 8, so that every latent holds the same texture."""
    rows, columns = tile.shape
    return np.tile(tile, (-(-scene.height // rows), -(-scene.width // columns)))[: scene.height, : scene.width]
