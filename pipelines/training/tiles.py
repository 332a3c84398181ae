"""Rows of pictures side by side: the grids that show how training goes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def tiles(rows: Sequence[Tensor]) -> NDArray[np.uint8]:
    """Batches of pictures (B×3×H×W in about [−1, 1]), one a row, as one picture, uint8 RGB."""
    lines = [torch.cat(list(row.detach().float().cpu()), -1) for row in rows]
    picture = torch.cat(lines, -2).permute(1, 2, 0)
    whole: NDArray[np.uint8] = ((picture.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).numpy()
    return whole
