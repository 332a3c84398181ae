"""Structural similarity of feature maps against a plain reference: loops over positions, definitions as they stand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipelines.training.losses.ssim import K1, K2, ssim

SIZES = [(1, 1), (2, 2), (1, 5), (3, 4), (9, 8)]


def maps(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def reference(a: NDArray[np.float64], b: NDArray[np.float64], window: int, span: float) -> float:
    """Of one channel; ``span`` is L."""
    c1, c2, half, found = (K1 * span) ** 2, (K2 * span) ** 2, window // 2, []
    for row in range(a.shape[0]):
        for column in range(a.shape[1]):
            rows = slice(max(row - half, 0), row + half + 1)
            columns = slice(max(column - half, 0), column + half + 1)
            x, y = a[rows, columns].ravel(), b[rows, columns].ravel()
            covariance = np.mean((x - x.mean()) * (y - y.mean()))
            above = (2 * x.mean() * y.mean() + c1) * (2 * covariance + c2)
            found.append(above / ((x.mean() ** 2 + y.mean() ** 2 + c1) * (x.var() + y.var() + c2)))
    return float(np.mean(found))


def reference_of_sample(a: Tensor, b: Tensor, window: int) -> float:
    ours, theirs = a.numpy(), b.numpy()
    spans = [max(channel.max(), 0) - min(channel.min(), 0) for channel in theirs]
    found = []
    for x, y, own in zip(ours, theirs, spans, strict=True):
        span = max(own, 0.1 * np.mean(spans))
        lowest = min(y.min(), 0) - 0.1 * span
        found.append(reference(x - lowest, y - lowest, window, span))
    return float(np.mean(found))


@pytest.mark.parametrize("window", [3, 7])
@pytest.mark.parametrize("size", SIZES)
def test_equals_the_definition(size: tuple[int, int], window: int) -> None:
    target = maps(2, 3, *size, seed=1, scale=5.0) + 2
    ours = target + maps(2, 3, *size, seed=2)
    expected = [reference_of_sample(a, b, window) for a, b in zip(ours, target, strict=True)]
    assert ssim(ours, target, window=window).tolist() == pytest.approx(expected, rel=1e-9)


def test_of_pictures_the_range_is_given() -> None:
    ours, target = maps(1, 1, 6, 6, seed=3).sigmoid(), maps(1, 1, 6, 6, seed=4).sigmoid()
    expected = reference(ours[0, 0].numpy(), target[0, 0].numpy(), 5, 1.0)
    assert float(ssim(ours, target, window=5, dynamic_range=1.0)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("size", SIZES)
def test_equal_maps_are_alike_and_opposite_ones_are_not(size: tuple[int, int]) -> None:
    target = maps(2, 3, *size)
    assert torch.allclose(ssim(target, target), torch.ones(2, dtype=torch.float64))
    assert (ssim(-target, target) < 0.4).all()


def test_does_not_depend_on_the_unit_of_the_features() -> None:
    ours, target = maps(2, 3, 8, 8, seed=1), maps(2, 3, 8, 8, seed=2)
    assert torch.allclose(ssim(1e4 * ours, 1e4 * target), ssim(ours, target))


def test_each_sample_is_on_its_own() -> None:
    ours, target = maps(3, 4, 8, 8, seed=1), maps(3, 4, 8, 8, seed=2) * torch.tensor([1.0, 10, 100]).view(3, 1, 1, 1)
    alone = torch.cat([ssim(ours[i : i + 1], target[i : i + 1]) for i in range(3)])
    assert torch.equal(ssim(ours, target), alone)


@pytest.mark.parametrize("size", SIZES)
def test_gradients_agree_with_finite_differences(size: tuple[int, int]) -> None:
    target = maps(2, 2, *size, seed=1)
    ours = (target + maps(2, 2, *size, seed=2)).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda x: ssim(x, target, window=3), ours)


def test_channels_and_maps_that_are_silent_in_the_target_neither_break_nor_rule_it() -> None:
    target = maps(1, 2, 4, 4)
    target[:, 1] = 0
    ours = (target + 0.001 * maps(1, 2, 4, 4, seed=2)).requires_grad_(True)
    found = ssim(ours, target)
    found.backward()  # type: ignore[no-untyped-call]
    assert found > 0.97
    assert ours.grad is not None
    assert ours.grad.isfinite().all()
    silent = torch.zeros(1, 2, 4, 4)
    assert torch.equal(ssim(silent, silent), torch.ones(1))


def test_large_offsets_cost_no_digits() -> None:
    """In float32 a variance taken as a difference of squares would be lost here."""
    ours, target = maps(1, 1, 8, 8, seed=1) + 3000, maps(1, 1, 8, 8, seed=2) + 3000
    exact, rough = ssim(ours, target, dynamic_range=8.0), ssim(ours.float(), target.float(), dynamic_range=8.0)
    assert float(rough) == pytest.approx(float(exact), abs=2e-3)
