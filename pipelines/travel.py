"""From one point to another on a sphere: between prompts, between seeds."""

from __future__ import annotations

import torch
from torch import Tensor

#: Directions closer than this (in radians) are blended in a straight line, where the arc's formula divides by nearly 0.
_NEARLY_EQUAL = 1e-3


def slerp(a: Tensor, b: Tensor, share: float, *, dim: int | tuple[int, ...]) -> Tensor:
    """Spherical linear interpolation (Shoemake 1985) of the vectors along ``dim``; ``share`` 0 gives a, 1 gives b.

    A straight line between two normal noises passes through points with too little variance, which a diffusion model
    paints as grey; the arc keeps it. Lengths that differ are blended by the same weights. Computed in float32.
    """
    if share <= 0.0:
        return a
    if share >= 1.0:
        return b
    start, end = a.float(), b.float()
    from_a, from_b = slerp_weights(start, end, share, dim=dim)
    return (from_a * start + from_b * end).to(a.dtype)


def slerp_weights(
    start: Tensor, end: Tensor, share: float | Tensor, *, dim: int | tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """What each end counts at ``share``, a number or a tensor that fits the vectors."""
    inner, first, second = ((x * y).sum(dim=dim, keepdim=True) for x, y in ((start, end), (start, start), (end, end)))
    cosine = (inner / (first * second).sqrt().clamp(min=1e-12)).clamp(-1, 1)
    angle = torch.acos(cosine)
    sine = torch.sin(angle).clamp(min=1e-6)
    near = angle < _NEARLY_EQUAL
    from_a = torch.where(near, 1 - share, torch.sin((1 - share) * angle) / sine)
    from_b = torch.where(near, share, torch.sin(share * angle) / sine)
    return from_a, from_b
