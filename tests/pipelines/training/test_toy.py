"""Score distillation where the answer is known: the functions that train U-Nets, on toys."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

from pipelines.training import toy
from pipelines.training.losses.score_distillation import WEIGHTINGS

#: Mean and deviation of the student and of the target.
STUDENT, TARGET = (0.9, 0.5), (-0.4, 1.2)
STEPS = 200


def spread(t: int, deviation: float) -> tuple[float, float]:
    """α_t, and the deviation of q_t."""
    low, high = math.sqrt(0.00085), math.sqrt(0.012)
    kept = np.prod([1 - (low + (high - low) * i / (STEPS - 1)) ** 2 for i in range(t + 1)])
    return math.sqrt(kept), math.sqrt(kept * deviation**2 + 1 - kept)


def divergence(t: int, mean: float, deviation: float) -> float:
    """KL(q_t‖p_t) of the noised student to the noised target, both Gaussian, in closed form."""
    alpha, own = spread(t, deviation)
    _, other = spread(t, TARGET[1])
    apart = alpha * (mean - TARGET[0])
    return math.log(other / own) + (own**2 + apart**2) / (2 * other**2) - 0.5


def integral(weighting: str, mean: float, deviation: float) -> float:
    """∫ w(t)·KL(q_t‖p_t) dt / T."""
    weights = [1.0 if weighting == "uniform" else 1 - spread(t, 0)[0] ** 2 for t in range(STEPS)]
    return float(np.mean([w * divergence(t, mean, deviation) for t, w in enumerate(weights)]))


def slope(weighting: str) -> tuple[float, float]:
    """By finite differences."""
    step, (mean, deviation) = 1e-5, STUDENT
    return (
        (integral(weighting, mean + step, deviation) - integral(weighting, mean - step, deviation)) / (2 * step),
        (integral(weighting, mean, deviation + step) - integral(weighting, mean, deviation - step)) / (2 * step),
    )


def test_the_closed_form_is_the_integral_it_stands_for() -> None:
    for t in (0, 60, STEPS - 1):
        alpha, own = spread(t, STUDENT[1])
        q, p = norm(alpha * STUDENT[0], own), norm(alpha * TARGET[0], spread(t, TARGET[1])[1])
        integrated, _ = quad(lambda x, q=q, p=p: q.pdf(x) * (q.logpdf(x) - p.logpdf(x)), -8, 8)
        assert divergence(t, *STUDENT) == pytest.approx(integrated, rel=1e-6)


@pytest.mark.parametrize("weighting", ["uniform", "variance"])
def test_the_gradient_is_that_of_the_integral_of_the_divergences(weighting: str) -> None:
    """Within four standard errors, and those are small: about a hundredth of the gradient itself."""
    target = toy.Mixture(
        centres=torch.tensor([[TARGET[0]]], dtype=torch.float64), deviation=TARGET[1], diffusion=toy.diffusion(STEPS)
    )
    found, error = toy.gaussian_gradient(
        *STUDENT, target, WEIGHTINGS[weighting], repeats=400, generator=torch.Generator().manual_seed(0)
    )
    expected = torch.tensor(slope(weighting), dtype=torch.float64)
    assert (error < 0.02 * expected.abs()).all(), (error, expected)
    assert ((found - expected).abs() < 4 * error).all(), (found, expected, error)


def test_the_mixtures_score_is_the_slope_of_its_logarithm() -> None:
    ring = toy.Mixture.ring()
    points = torch.randn(6, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64).requires_grad_(True)
    t = torch.tensor([0, 50, 200, 500, 800, 999])
    alpha, sigma = ring.diffusion.alpha(t, points), ring.diffusion.sigma(t, points)
    variance = (alpha * ring.deviation) ** 2 + sigma**2
    squares = (points[:, None] - alpha[:, None] * ring.centres).square().sum(-1)
    density = (torch.exp(-squares / (2 * variance)) / variance).sum(1)
    (expected,) = torch.autograd.grad(density.log().sum(), points)
    assert torch.allclose(ring.score(points.detach(), t), expected, rtol=1e-6, atol=1e-9)


def test_a_student_in_one_step_moves_to_the_mixture_and_loses_no_mode() -> None:
    """The exact Wasserstein distance falls to less than a tenth, from a student that knows nothing."""
    torch.manual_seed(0)
    ring, noise = toy.Mixture.ring(), toy.spread_noise(1000)
    target, student = ring.sample(1000), toy.new_student()
    with torch.no_grad():
        before = toy.wasserstein(student(noise), target)
    toy.distil(student, ring, steps=1200)
    with torch.no_grad():
        points = student(noise)
    assert toy.wasserstein(points, target) < before / 10, (before, toy.wasserstein(points, target))
    assert min(ring.of_each(points)) > 0.7 * 1000 / len(ring.centres)


def test_the_teachers_flow_ends_on_the_mixture() -> None:
    torch.manual_seed(0)
    ring = toy.Mixture.ring()
    points = toy.flow(ring, toy.spread_noise(500))
    assert toy.wasserstein(points, ring.sample(500)) < 0.1


def test_the_wasserstein_distance_is_that_of_the_cheapest_pairing() -> None:
    points = torch.tensor([[0.0, 0], [1, 0], [5, 0]])
    assert toy.wasserstein(points, torch.tensor([[5.0, 3], [0, 0], [1, 0]])) == pytest.approx(1)
