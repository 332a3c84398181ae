"""Score distillation where all is known: the very functions that train U-Nets, on distributions with closed scores.

A Gaussian student before a Gaussian target has a divergence and a gradient that can be written down. A mixture of
Gaussians in the plane is what a student that only regresses smears: in one step it has to tear a single cloud apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]
from torch import Tensor, nn

from pipelines.training.diffusion import Diffusion
from pipelines.training.losses.score_distillation import (
    Network,
    Weighting,
    denoising,
    score_distillation,
    score_of,
    variance,
)


def diffusion(steps: int = 1000) -> Diffusion:
    """Stable Diffusion's noise schedule, predicting ε."""
    return Diffusion.from_config(
        {
            "_class_name": "DDIMScheduler",
            "beta_schedule": "scaled_linear",
            "beta_start": 0.00085,
            "beta_end": 0.012,
            "num_train_timesteps": steps,
        }
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Mixture:
    """Equal parts of Gaussians around ``centres`` (K×D), all with the deviation ``deviation``."""

    centres: Tensor
    deviation: float | Tensor
    diffusion: Diffusion

    @classmethod
    def ring(cls, modes: int = 5, radius: float = 1.3, deviation: float = 0.15) -> Mixture:
        """Modes in the plane, far apart for their size."""
        angles = torch.arange(modes) * 2 * math.pi / modes
        centres = radius * torch.stack([angles.sin(), angles.cos()], 1)
        return cls(centres=centres, deviation=deviation, diffusion=diffusion())

    def sample(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """``count``×D points, as many of each mode."""
        centres = self.centres[torch.arange(count) % len(self.centres)]
        return centres + self.deviation * torch.randn(centres.shape, generator=generator, dtype=centres.dtype)

    def score(self, noisy: Tensor, t: Tensor) -> Tensor:
        """∇ log p_t(x_t), N×D: noised, each part is N(α·centre, (α²·deviation² + σ²)·I)."""
        alpha, sigma = self.diffusion.alpha(t, noisy), self.diffusion.sigma(t, noisy)
        spread = (alpha * self.deviation) ** 2 + sigma**2
        apart = alpha[:, None] * self.centres - noisy[:, None]
        shares = torch.softmax(-apart.square().sum(-1) / (2 * spread), 1)
        return (shares[..., None] * apart).sum(1) / spread

    def of_each(self, points: Tensor) -> list[int]:
        """How many points are nearest to each mode."""
        nearest = torch.cdist(points, self.centres).argmin(1)
        return torch.bincount(nearest, minlength=len(self.centres)).tolist()


def gaussian_gradient(
    mean: float, deviation: float, target: Mixture, weighting: Weighting, *, repeats: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The gradient of ∫ w(t)·KL(q_t‖p_t) dt / T in a Gaussian student's mean and deviation, on a line, by
    ``score_distillation`` with both scores exact: its estimate and that one's standard error, 2 each, float64.

    ``repeats``: how often every timestep is drawn.
    """
    found = []
    student = torch.tensor([mean, deviation], dtype=torch.float64, requires_grad=True)
    schedule = target.diffusion
    for _ in range(repeats):
        t = torch.arange(schedule.timesteps)
        normal = torch.randn(2, len(t), 1, generator=generator, dtype=torch.float64)
        own = Mixture(centres=student[:1, None].detach(), deviation=student[1].detach(), diffusion=schedule)
        x0 = student[0] + student[1] * normal[0]
        loss = score_distillation(
            x0, normal[1], t, diffusion=schedule, teacher=target.score, fake=own.score, weighting=weighting
        ).mean()
        (gradient,) = torch.autograd.grad(loss, student)
        found.append(gradient)
    all_of_them = torch.stack(found)
    return all_of_them.mean(0), all_of_them.std(0) / repeats**0.5


class Perceptron(nn.Module):
    """Inputs times ``scale``, three hidden layers: narrow inputs make no sharp turns."""

    def __init__(self, inputs: int, *, hidden: int, scale: float) -> None:
        super().__init__()
        widths = (inputs, hidden, hidden, hidden)
        layers = [part for a, b in pairwise(widths) for part in (nn.Linear(a, b), nn.SiLU())]
        self.hidden = hidden
        self.layers, self._scale = nn.Sequential(*layers, nn.Linear(hidden, 2)), scale

    def forward(self, values: Tensor) -> Tensor:
        answer: Tensor = self.layers(self._scale * values)
        return answer


class FakeScore(nn.Module):
    """ε̂(x_t, t) of points in the plane."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.body = Perceptron(10, hidden=hidden, scale=3.0)

    def forward(self, noisy: Tensor, t: Tensor) -> Tensor:
        phase = math.pi * t[:, None] / 1000 * torch.tensor([0.5, 1.0, 2.0, 4.0])
        answer: Tensor = self.body(torch.cat([noisy, phase.sin(), phase.cos()], 1))
        return answer


def spread_noise(count: int, seed: int = 0) -> Tensor:
    """Standard normal points in the plane that cover it evenly (Sobol), so that few of them tell a distribution."""
    uniform = torch.quasirandom.SobolEngine(2, scramble=True, seed=seed).draw(count).clamp(1e-6, 1 - 1e-6)
    return math.sqrt(2) * torch.erfinv(2 * uniform - 1)


def new_student(*, hidden: int = 64, seed: int = 0) -> Perceptron:
    """Noise in the plane to points, in one step."""
    torch.manual_seed(seed)
    return Perceptron(2, hidden=hidden, scale=2.0)


def distil(
    student: Perceptron,
    target: Mixture,
    *,
    steps: int,
    batch: int = 256,
    learning_rate: float = 4e-3,
    alpha: float = 0.98,
) -> None:
    """Train ``student`` by score distillation on [0, αT], a fake score of its own in turn (SDXS, algorithm 1)."""
    fake, schedule = FakeScore(student.hidden), target.diffusion
    turns = [torch.optim.AdamW(each.parameters(), learning_rate, betas=(0.0, 0.99)) for each in (student, fake)]
    for step in range(steps):
        slow_down(turns, learning_rate, step / steps)
        t = (torch.rand(batch) * alpha * schedule.timesteps).long()
        points = student(torch.randn(batch, 2))
        loss = score_distillation(
            points,
            torch.randn(batch, 2),
            t,
            diffusion=schedule,
            teacher=target.score,
            fake=score_of(fake, schedule),
            weighting=variance,
        )
        descend(turns[0], loss.mean())
        descend(turns[1], _denoise(student, fake, schedule, batch))


def _denoise(student: nn.Module, fake: Network, schedule: Diffusion, batch: int) -> Tensor:
    with torch.no_grad():
        points = student(torch.randn(batch, 2))
    t = torch.randint(0, schedule.timesteps, (batch,))
    return denoising(points, torch.randn(batch, 2), t, diffusion=schedule, network=fake).mean()


def regress(
    student: nn.Module, target: Mixture, *, steps: int, batch: int = 256, learning_rate: float = 4e-3, pairs: int = 4096
) -> None:
    """Train ``student`` by mean squares alone, on noise and what the teacher's flow makes of it."""
    noise = torch.randn(pairs, 2)
    points = flow(target, noise)
    optimizer = torch.optim.AdamW(student.parameters(), learning_rate, betas=(0.0, 0.99))
    for step in range(steps):
        slow_down([optimizer], learning_rate, step / steps)
        chosen = torch.randint(0, pairs, (batch,))
        descend(optimizer, (student(noise[chosen]) - points[chosen]).square().sum(1).mean())


@torch.no_grad()
def flow(target: Mixture, noise: Tensor, *, steps: int = 100) -> Tensor:
    """The teacher's deterministic sample: DDIM (arXiv 2010.02502, eq. 12, η = 0) with the exact score."""
    schedule, points = target.diffusion, noise
    times = torch.linspace(schedule.timesteps - 1, 0, steps).long()
    for now, then in pairwise(times.tolist()):
        t, after = torch.full((len(points),), now), torch.full((len(points),), then)
        sigma = schedule.sigma(t, points)
        eps = -sigma * target.score(points, t)
        clean = (points - sigma * eps) / schedule.alpha(t, points)
        points = schedule.add_noise(clean, eps, after)
    return points


def wasserstein(points: Tensor, others: Tensor) -> float:
    """W₁, exact: the mean length of the cheapest pairing of two sets of N points."""
    costs = torch.cdist(points.double(), others.double()).numpy()
    return float(costs[linear_sum_assignment(costs)].mean())


def slow_down(optimizers: list[torch.optim.AdamW], learning_rate: float, progress: float) -> None:
    """A cosine down to a fiftieth."""
    for group in (group for optimizer in optimizers for group in optimizer.param_groups):
        group["lr"] = learning_rate * (0.02 + 0.49 * (1 + math.cos(math.pi * progress)))


def descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
