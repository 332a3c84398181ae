"""Losses on pictures."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def picture_loss(painted: Tensor, target: Tensor, edge_weight: float = 1.0, sharp: float = 0.0) -> Tensor:
    """Squared error of the pixels plus ``edge_weight`` times that of their differences to the right and downwards; a share
    ``sharp`` of it is absolute error instead (B×3×H×W).

    Squared error first: a thin line covers so few pixels that the median, which absolute error asks for, is no line.
    """
    across = (painted[..., 1:] - painted[..., :-1], target[..., 1:] - target[..., :-1])
    down = (painted[..., 1:, :] - painted[..., :-1, :], target[..., 1:, :] - target[..., :-1, :])
    pairs = ((1.0, (painted, target)), (edge_weight, across), (edge_weight, down))
    squared = sum(weight * F.mse_loss(*pair) for weight, pair in pairs)
    if not sharp:
        return squared
    return (1 - sharp) * squared + sharp * sum(weight * F.l1_loss(*pair) for weight, pair in pairs)
