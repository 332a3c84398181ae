"""Score distillation: a generator is moved by the difference of two scores (Diff-Instruct, arXiv 2305.18455).

Between the student's distribution q and the teacher's p lies, at all noise levels (SDXS, arXiv 2403.16627, eq. 3),

    IKL(q, p) = ∫ w(t) · E_{x_t∼q_t}[log q_t(x_t) − log p_t(x_t)] dt

and its gradient in the student's parameters θ is (eqs. 4 and 12)

    F(t, x_t) = w(t) · E_{x₀=x_θ(z), x_t|x₀}[(s_q(x_t, t) − s_p(x_t, t)) · ∂x_t/∂θ]

s_q is a network that learns the student's own pictures in turn (``denoising``), s_p the teacher's. Autograd multiplies
with ∂x_t/∂θ: what is returned has this gradient, and half the squared length of w(t)·(s_q − s_p) as its value, which
goes to 0 as the scores come to agree.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pipelines.training.diffusion import Diffusion

#: s(x_t, t) = ∇ log p_t(x_t), in the shape of x_t; ``t``: B timesteps.
Score = Callable[[Tensor, Tensor], Tensor]
#: A network's raw output at (x_t, t); ``Diffusion`` says what it means.
Network = Callable[[Tensor, Tensor], Tensor]
#: w(t) of each sample, B×1×…; it may look at the picture x₀ and at what the teacher takes it for, x̂₀.
Weighting = Callable[[Diffusion, Tensor, Tensor, Tensor], Tensor]


def uniform(diffusion: Diffusion, t: Tensor, x0: Tensor, teacher_x0: Tensor) -> Tensor:
    """w = 1: the integral of the divergences as it stands; small t, where scores are large, counts most."""
    return torch.ones_like(diffusion.sigma(t, x0))


def variance(diffusion: Diffusion, t: Tensor, x0: Tensor, teacher_x0: Tensor) -> Tensor:
    """w = σ_t² (score SDE, arXiv 2011.13456, section 3.3): all noise levels weigh alike in units of their noise."""
    return diffusion.sigma(t, x0) ** 2


def normalised(diffusion: Diffusion, t: Tensor, x0: Tensor, teacher_x0: Tensor) -> Tensor:
    """w = σ_t²/α_t · CS/‖x₀ − x̂₀‖₁ (DMD, arXiv 2311.18828, eq. 8): steps of one length at all noise levels.

    The norm is kept over a hundredth of the picture's own size, below which it would be a division by nothing.
    """
    others = tuple(range(1, x0.ndim))
    apart = (x0 - teacher_x0).abs().mean(others, keepdim=True)
    least = 0.01 * x0.abs().mean(others, keepdim=True) + 1e-6
    return diffusion.sigma(t, x0) ** 2 / diffusion.alpha(t, x0) / torch.maximum(apart, least)


WEIGHTINGS: dict[str, Weighting] = {"uniform": uniform, "variance": variance, "normalised": normalised}


def score_distillation(
    x0: Tensor,
    noise: Tensor,
    t: Tensor,
    *,
    diffusion: Diffusion,
    teacher: Score,
    fake: Score,
    weighting: Weighting = uniform,
) -> Tensor:
    """B numbers whose gradient in what made ``x0`` is F(t, x_t), one draw of it each; descending moves q to p.

    ``x0``: the student's pictures, B×…; ``noise``: standard normal of that shape; ``t``: B timesteps.
    """
    noisy = diffusion.add_noise(x0, noise, t)
    with torch.no_grad():
        theirs, ours = teacher(noisy.detach(), t), fake(noisy.detach(), t)
        alpha, sigma = diffusion.alpha(t, noisy), diffusion.sigma(t, noisy)
        teacher_x0 = (noisy + sigma**2 * theirs) / alpha  # Tweedie's formula
        gradient = weighting(diffusion, t, x0.detach(), teacher_x0) * (ours - theirs)
    moved = noisy - noisy.detach()  # 0, with a gradient
    return (gradient * moved + gradient**2 / 2).flatten(1).sum(1)


def denoising(x0: Tensor, noise: Tensor, t: Tensor, *, diffusion: Diffusion, network: Network) -> Tensor:
    """The ordinary loss of a diffusion network at x_t (SDXS, eq. 1), B: the mean square of its error."""
    noisy = diffusion.add_noise(x0, noise, t)
    return (network(noisy, t) - diffusion.target(x0, noise, t)).square().flatten(1).mean(1)


def score_of(network: Network, diffusion: Diffusion) -> Score:
    """The score that a network's output means."""
    return lambda noisy, t: diffusion.score(network(noisy, t), noisy, t)


def guided(network: Network, without: Network, guidance: float) -> Network:
    """Classifier-free guidance (arXiv 2207.12598): away from what the network says ``without`` a prompt."""

    def answer(noisy: Tensor, t: Tensor) -> Tensor:
        nothing = without(noisy, t)
        return nothing + guidance * (network(noisy, t) - nothing)

    return answer
