"""Structural similarity (Wang et al., 2004, IEEE TIP 13(4), eq. 13) of feature maps, of any size down to 1×1.

SSIM = (2·μₐ·μ_b + C₁)·(2·σ_ab + C₂) / ((μₐ² + μ_b² + C₁)·(σₐ² + σ_b² + C₂)),   Cᵢ = (Kᵢ·L)²

Pictures lie in [0, L] with a range L that is known. Features do not: channels of one map differ by orders of magnitude,
and where values are negative, a map and its own negative would be alike (two wrong signs make a right one). So here
each sample's channel has a range of its own, from the target: L is its span, zero included, so that a map of a single
value has one as well, and at least a tenth of the mean span of that sample's channels, so that a channel which is
silent in the target neither divides by zero nor counts for everything. Values are counted from L/10 below the target's
lowest.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

K1, K2 = 0.01, 0.03
_LEAST, _BELOW = 0.1, 0.1


def ssim(maps: Tensor, target: Tensor, *, window: int = 7, dynamic_range: float | None = None) -> Tensor:
    """Mean structural similarity of each sample, B, in [−1, 1]; 1 where both are equal.

    ``maps`` and ``target`` are B×C×H×W; gradients pass to both, but not through the range. ``window``: the odd side of
    the uniform window around each position; what of it lies outside the map is left out, and the rest weighs more.
    ``dynamic_range``: L of values in [0, L], as pictures are.
    """
    exact = torch.promote_types(maps.dtype, torch.float32)  # variances are differences of large numbers
    maps, target = maps.to(exact), target.to(exact)
    span, lowest = _range(target) if dynamic_range is None else (target.new_tensor(dynamic_range), target.new_zeros(()))
    c1, c2 = (K1 * span) ** 2, (K2 * span) ** 2
    # Moments around a value nearby lose fewer digits; variances don't see the shift, means get it back.
    centre = target.detach().mean((2, 3), keepdim=True)
    a, b = maps - centre, target - centre
    mean_a, mean_b = _mean(a, window), _mean(b, window)
    variances = _mean(a * a, window) - mean_a**2 + _mean(b * b, window) - mean_b**2
    covariance = _mean(a * b, window) - mean_a * mean_b
    mean_a, mean_b = mean_a + (centre - lowest), mean_b + (centre - lowest)
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return (luminance * (2 * covariance + c2) / (variances + c2)).mean((1, 2, 3))


def _mean(maps: Tensor, window: int) -> Tensor:
    """The mean over the part of each position's window that lies within the map."""
    return functional.avg_pool2d(maps, window, stride=1, padding=window // 2, count_include_pad=False)


def _range(target: Tensor) -> tuple[Tensor, Tensor]:
    """L of each sample and channel, and what its values are counted from, B×C×1×1."""
    flat = target.detach().flatten(2)
    lowest = flat.amin(2).clamp(max=0)
    span = flat.amax(2).clamp(min=0) - lowest
    span = torch.maximum(span, _LEAST * span.mean(1, keepdim=True)).clamp(min=torch.finfo(span.dtype).tiny ** 0.25)
    return span[..., None, None], (lowest - _BELOW * span)[..., None, None]
