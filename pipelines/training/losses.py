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


def colour_loss(painted: Tensor, target: Tensor) -> Tensor:
    """Absolute error with the lines averaged away: tones of 8×8 pixels, colourfulness of 4×4 (both B×3×H×W).

    Lines make most of the pixels' error; without this the colours of flat areas and glows are learned last.
    """
    tones = F.l1_loss(F.avg_pool2d(painted, 8), F.avg_pool2d(target, 8))
    painted, target = F.avg_pool2d(painted, 4), F.avg_pool2d(target, 4)
    grey, wanted = painted.mean(1, keepdim=True), target.mean(1, keepdim=True)
    return tones + 2 * F.l1_loss(painted - grey, target - wanted)
