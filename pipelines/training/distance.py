"""How far one set of pictures is from another, as distributions: what a one-step student is validated by.

The kernel distance of KID (arXiv 1801.01401, eq. 4), with the features of the teacher's own U-Net encoder in place of
an Inception network's, which knows photographs alone. A blurred student, whose mean square is small, is far away here.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def descriptors(maps: Sequence[Tensor]) -> Tensor:
    """Feature maps (B×C×H×W, any number) as one row a sample: each channel's mean and deviation over the map."""
    flat = [each.double().flatten(2) for each in maps]
    return torch.cat([part for each in flat for part in (each.mean(2), each.std(2, correction=0))], 1)


def kernel_distance(ours: Tensor, theirs: Tensor) -> float:
    """The squared maximum mean discrepancy of two sets of descriptors, N×D and M×D, under (x·y/D + 1)³; 0 where they
    are equal, and never less. Each dimension is measured in deviations of ``theirs``."""
    mean, deviation = theirs.mean(0), theirs.std(0, correction=0)
    used = deviation > 1e-6 * (mean.abs() + 1)
    ours, theirs = ((each[:, used] - mean[used]) / deviation[used] for each in (ours, theirs))
    found = _kernel(ours, ours).mean() + _kernel(theirs, theirs).mean() - 2 * _kernel(ours, theirs).mean()
    return max(float(found), 0.0)


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    return (a @ b.T / max(a.shape[1], 1) + 1) ** 3
