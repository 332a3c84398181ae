"""Losses on pictures."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def picture_loss(painted: Tensor, target: Tensor, edge_weight: float = 1.0, sharp: float = 0.0) -> Tensor:
    """Squared error of the pixels (B×3×H×W) plus ``edge_weight`` times that of their differences across and down; a
    share ``sharp`` of it is absolute error instead.

    Squared error first: a thin line covers so few pixels that the median, which absolute error asks for, is no line.
    """
    across = (painted[..., 1:] - painted[..., :-1], target[..., 1:] - target[..., :-1])
    down = (painted[..., 1:, :] - painted[..., :-1, :], target[..., 1:, :] - target[..., :-1, :])
    squared = F.mse_loss(painted, target) + edge_weight * (F.mse_loss(*across) + F.mse_loss(*down))
    if not sharp:
        return squared
    absolute = F.l1_loss(painted, target) + edge_weight * (F.l1_loss(*across) + F.l1_loss(*down))
    return (1 - sharp) * squared + sharp * absolute
