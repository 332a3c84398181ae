"""Structural similarity (Wang et al., 2004, IEEE TIP 13(4), eq. 13) of feature maps, of any size down to 1×1.

SSIM = (2·μₐ·μ_b + C₁)·(2·σ_ab + C₂) / ((μₐ² + μ_b² + C₁)·(σₐ² + σ_b² + C₂)),   Cᵢ = (Kᵢ·L)²

Pictures have a dynamic range L that is known; features have none, and channels of one map differ by orders of
magnitude. Here L belongs to each sample and channel: the span of the target's channel, zero included (so that a map of
a single value has one as well), and at least a tenth of the mean span of that sample's channels, so that a channel
which is silent in the target neither divides by zero nor counts for everything.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

K1, K2 = 0.01, 0.03
_LEAST = 0.1  # of the mean span


def ssim(maps: Tensor, target: Tensor, *, window: int = 7, dynamic_range: float | None = None) -> Tensor:
    """Mean structural similarity of each sample, B, in [−1, 1]; 1 where both are equal.

    ``maps`` and ``target`` are B×C×H×W; gradients pass to both, but not through L. ``window``: the odd side of the
    uniform window around each position; what of it lies outside the map is left out, and the rest weighs more.
    ``dynamic_range``: L where it is known, as it is for pictures.
    """
    exact = torch.promote_types(maps.dtype, torch.float32)  # variances are differences of large numbers
    maps, target = maps.to(exact), target.to(exact)
    span = _span(target) if dynamic_range is None else torch.tensor(dynamic_range, dtype=exact, device=target.device)
    c1, c2 = (K1 * span) ** 2, (K2 * span) ** 2
    # Moments around a value nearby lose fewer digits; variances don't see the shift, means get it back.
    centre = target.detach().mean((2, 3), keepdim=True)
    a, b = maps - centre, target - centre
    mean_a, mean_b = _mean(a, window), _mean(b, window)
    variances = _mean(a * a, window) - mean_a**2 + _mean(b * b, window) - mean_b**2
    covariance = _mean(a * b, window) - mean_a * mean_b
    mean_a, mean_b = mean_a + centre, mean_b + centre
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return (luminance * (2 * covariance + c2) / (variances + c2)).mean((1, 2, 3))


def _mean(maps: Tensor, window: int) -> Tensor:
    """The mean over the part of each position's window that lies within the map."""
    return functional.avg_pool2d(maps, window, stride=1, padding=window // 2, count_include_pad=False)


def _span(target: Tensor) -> Tensor:
    """L of each sample and channel, B×C×1×1."""
    flat = target.detach().flatten(2)
    span = flat.amax(2).clamp(min=0) - flat.amin(2).clamp(max=0)
    least = _LEAST * span.mean(1, keepdim=True)
    return torch.maximum(span, least).clamp(min=torch.finfo(span.dtype).tiny ** 0.25)[..., None, None]
