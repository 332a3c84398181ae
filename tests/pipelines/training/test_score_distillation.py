"""The score distillation loss against a plain reference, sample by sample, and its gradient."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from pipelines.training.diffusion import PREDICTIONS, Diffusion
from pipelines.training.losses.score_distillation import WEIGHTINGS, denoising, guided, score_distillation, score_of
from tests.pipelines import tiny

SHAPE = (3, 2, 4, 4)
T = torch.tensor([20, 500, 990])


def diffusion(prediction: str = "epsilon") -> Diffusion:
    return Diffusion.from_config(
        dict(tiny.scheduler(prediction_type=prediction).config, _class_name="DEISMultistepScheduler")
    )


def normal(seed: int) -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(2, 5, 3, padding=1), nn.Tanh(), nn.Conv2d(5, 2, 3, padding=1)).double()


def levels(t: int) -> tuple[float, float]:
    """(α, σ), written down from the betas again."""
    low, high = math.sqrt(0.00085), math.sqrt(0.012)
    kept = 1.0
    for i in range(t + 1):
        kept *= 1 - (low + (high - low) * i / 999) ** 2
    return math.sqrt(kept), math.sqrt(1 - kept)


def weight(name: str, t: int, x0: Tensor, teacher_x0: Tensor) -> float:
    alpha, sigma = levels(t)
    if name == "normalised":  # DMD, eq. 8
        return sigma**2 / alpha * x0.numel() / float((x0 - teacher_x0).abs().sum())
    return {"uniform": 1.0, "variance": sigma**2}[name]


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_its_gradient_is_the_difference_of_the_scores_times_what_x_t_moves_by(weighting: str) -> None:
    teacher, fake = network(1), network(2)
    x0, noise = normal(3).requires_grad_(True), normal(4)
    losses = score_distillation(
        x0,
        noise,
        T,
        diffusion=diffusion(),
        teacher=lambda x, t: teacher(x),
        fake=lambda x, t: fake(x),
        weighting=WEIGHTINGS[weighting],
    )
    (gradient,) = torch.autograd.grad(losses.sum(), x0)
    for row, t in enumerate(T.tolist()):
        alpha, sigma = levels(t)
        noisy = alpha * x0[row : row + 1].detach() + sigma * noise[row : row + 1]
        theirs, ours = teacher(noisy).detach(), fake(noisy).detach()
        teacher_x0 = (noisy + sigma**2 * theirs) / alpha
        moved = weight(weighting, t, x0[row].detach(), teacher_x0) * (ours - theirs)[0]
        assert torch.allclose(gradient[row], moved * alpha, rtol=1e-9)
        assert losses.tolist()[row] == pytest.approx(float(moved.square().sum()) / 2)


def test_no_gradient_reaches_the_scores() -> None:
    teacher, fake = network(1), network(2)
    x0 = normal(3).requires_grad_(True)
    score_distillation(
        x0, normal(4), T, diffusion=diffusion(), teacher=lambda x, t: teacher(x), fake=lambda x, t: fake(x)
    ).sum().backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None for net in (teacher, fake) for p in net.parameters())


def test_autograd_carries_it_to_the_generator() -> None:
    generator, teacher, fake = network(0), network(1), network(2)
    z, noise = normal(5), normal(4)

    def losses() -> Tensor:
        return score_distillation(
            generator(z), noise, T, diffusion=diffusion(), teacher=lambda x, t: teacher(x), fake=lambda x, t: fake(x)
        )

    weights = list(generator.parameters())
    found = torch.autograd.grad(losses().sum(), weights)
    x0 = generator(z)
    noisy = diffusion().add_noise(x0, noise, T)
    difference = (fake(noisy) - teacher(noisy)).detach()
    expected = torch.autograd.grad((difference * noisy).sum(), weights)
    assert all(torch.allclose(a, b) for a, b in zip(found, expected, strict=True))


def test_scores_that_agree_move_nothing_and_cost_nothing() -> None:
    same = network(1)
    x0 = normal(3).requires_grad_(True)
    losses = score_distillation(
        x0, normal(4), T, diffusion=diffusion(), teacher=lambda x, t: same(x), fake=lambda x, t: same(x)
    )
    (gradient,) = torch.autograd.grad(losses.sum(), x0)
    assert losses.tolist() == [0, 0, 0]
    assert not gradient.any()


def test_a_picture_that_the_teacher_agrees_with_is_not_divided_by_nothing() -> None:
    x0 = normal(3).requires_grad_(True)
    schedule = diffusion()
    # The teacher takes x_t for exactly x₀.
    teacher = lambda x, t: (schedule.alpha(t, x) * x0.detach() - x) / schedule.sigma(t, x) ** 2  # noqa: E731
    losses = score_distillation(
        x0,
        normal(4),
        T,
        diffusion=schedule,
        teacher=teacher,
        fake=lambda x, t: torch.zeros_like(x),
        weighting=WEIGHTINGS["normalised"],
    )
    losses.sum().backward()  # type: ignore[no-untyped-call]
    assert x0.grad is not None
    assert x0.grad.isfinite().all()


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_fake_score_learns_by_the_ordinary_loss(prediction: str) -> None:
    net, x0, noise = network(1), normal(3), normal(4)
    losses = denoising(x0, noise, T, diffusion=diffusion(prediction), network=lambda x, t: net(x))
    for row, t in enumerate(T.tolist()):
        alpha, sigma = levels(t)
        target = {"epsilon": noise, "sample": x0, "v_prediction": alpha * noise - sigma * x0}[prediction][row]
        error = net(alpha * x0[row : row + 1] + sigma * noise[row : row + 1])[0] - target
        assert losses.tolist()[row] == pytest.approx(float(error.square().mean().detach()))


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_a_networks_score_is_that_of_the_noise_it_sees(prediction: str) -> None:
    """A network that knows x₀ gives the score of N(α·x₀, σ²): −(x_t − α·x₀)/σ²."""
    schedule, x0, noise = diffusion(prediction), normal(3), normal(4)
    score = score_of(lambda x, t: schedule.target(x0, noise, t), schedule)
    noisy = schedule.add_noise(x0, noise, T)
    for row, t in enumerate(T.tolist()):
        alpha, sigma = levels(t)
        assert torch.allclose(score(noisy, T)[row], -(noisy[row] - alpha * x0[row]) / sigma**2, rtol=1e-6)


def test_guidance_goes_away_from_what_is_said_without_a_prompt() -> None:
    answer = guided(lambda x, t: 3 * x, lambda x, t: x, 2.5)
    assert torch.allclose(answer(normal(1), T), normal(1) * (1 + 2.5 * 2))
