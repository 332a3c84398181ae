"""Stage 3: the ControlNet's map embedding, first trained alone as an autoencoder of edge maps.

Trained with the painter from the start it settles early on a coarse code (where lines are, not which way they run), and
lines closer than a latent pixel become one grey patch for good. Alone it learns the fine code in two minutes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from pipelines.training.batches import edges_of_crop, open_canvases


class EdgeStage:
    """``embedding`` (B×3×H×W maps to B×C×H/8×W/8 features) with a small head that draws the map again."""

    def __init__(self, embedding: nn.Module, channels: int, data: Path, *, crop: int, batch: int) -> None:
        self.canvases = open_canvases(data)
        self.crop, self.batch = crop, batch
        head = nn.Sequential(
            nn.Conv2d(channels, 256, 3, padding=1), nn.ReLU(), nn.Conv2d(256, 64, 1), nn.PixelShuffle(8)
        )
        self.modules = nn.ModuleDict({"embedding": embedding, "head": head})

    @property
    def draw(self) -> Callable[[np.random.Generator], Tensor]:
        return partial(_maps, self.canvases, self.batch, self.crop)

    def loss(self, batch: Tensor) -> dict[str, Tensor]:
        """Binary cross-entropy of each pixel being on an edge."""
        drawn = self.modules["head"](self.modules["embedding"](batch.expand(-1, 3, -1, -1)))
        return {"loss": F.binary_cross_entropy_with_logits(drawn, batch)}


def _maps(canvases: NDArray[np.uint8], count: int, size: int, rng: np.random.Generator) -> Tensor:
    maps = np.stack([edges_of_crop(canvases, size, rng) for _ in range(count)])
    return torch.from_numpy(maps).float()[:, None].div(255)
