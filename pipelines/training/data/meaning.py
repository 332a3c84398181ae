"""Which colours a low band of latents stands for: the linear map that comes nearest, fitted on camera pictures.

Of a camera's band it gives the camera's colours. Noise says something else in every cell: read like that it would be
confetti. So a seed's band is smoothed to what neighbouring cells agree on, and stands for a palette around the cameras'
mean colour.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipelines.training.data.tensor import tensor_of
from pipelines.training.model import FACTOR, Model

if TYPE_CHECKING:
    from pipelines.training.data.encoded import Examples

#: A seed's colours: deviation of the smoothing in cells, and what is left is made so many times stronger.
_SMOOTH, _STRONGER = 1.4, 2.4
#: Samples that are looked at for it; about a third of them have a camera's colours.
_LOOKED_AT = 600


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """RGB in [0, 1] = ``weights`` (C×3) · latents + a constant; ``middle``: RGB, the cameras' mean. ``size``: of the
    pictures; ``fit``: R²."""

    weights: NDArray[np.float32]
    middle: NDArray[np.float32]
    size: tuple[int, int]
    fit: float

    def colours(self, band: Tensor) -> NDArray[np.float32]:
        """h×w×3 in [0, 1] of a seed's band C×h×w."""
        apart = np.ascontiguousarray((band.permute(1, 2, 0).numpy() @ self.weights), np.float32)
        smooth = cv2.GaussianBlur(apart, (0, 0), _SMOOTH, borderType=cv2.BORDER_REFLECT)
        return np.clip(self.middle + _STRONGER * smooth, 0, 1).astype(np.float32)


def find_meaning(file: Path, model: Model, data: Examples) -> Meaning:
    """Fitted once for each run and kept in ``file``."""
    if not file.is_file():
        found = _fitted(model, data)
        file.parent.mkdir(parents=True, exist_ok=True)
        said = {
            "weights": found.weights.tolist(),
            "middle": found.middle.tolist(),
            "size": found.size,
            "fit": found.fit,
        }
        file.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    said = json.loads(file.read_text(encoding="utf-8"))
    weights, middle = (np.array(said[name], np.float32) for name in ("weights", "middle"))
    return Meaning(weights=weights, middle=middle, size=tuple(said["size"]), fit=float(said["fit"]))


def _fitted(model: Model, data: Examples) -> Meaning:
    latents, colours, size = [], [], (0, 0)
    device = next(model.vae.parameters()).device
    for index in range(0, min(2 * _LOOKED_AT, len(data)), 2):
        drawn = data.example(index, None)
        size = (drawn.picture.shape[0], drawn.picture.shape[1])
        if drawn.colours is None:
            continue
        band = model.encode(tensor_of(drawn.colours)[None].to(device))[0].cpu()
        latents.append(band.flatten(1).T.numpy())
        small = torch.from_numpy(drawn.colours).permute(2, 0, 1).float()[None] / 255
        colours.append(torch.nn.functional.avg_pool2d(small, FACTOR)[0].flatten(1).T.numpy())
    given, wanted = np.concatenate(latents), np.concatenate(colours)
    with_one = np.concatenate([given, np.ones((len(given), 1), np.float32)], 1)
    solution = np.linalg.lstsq(with_one, wanted, rcond=None)[0]
    left = np.square(wanted - with_one @ solution).sum() / np.square(wanted - wanted.mean(0)).sum()
    return Meaning(weights=solution[:-1], middle=wanted.mean(0), size=size, fit=float(1 - left))
