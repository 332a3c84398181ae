"""The forward process and what a network's output says about it.

x_t = α_t·x₀ + σ_t·ε,   α_t = √ᾱ_t,   σ_t = √(1 − ᾱ_t)        (DDPM, arXiv 2006.11239, eq. 4)
s(x_t, t) = ∇ log p_t(x_t) = −ε̂(x_t, t) / σ_t                  (score SDE, arXiv 2011.13456)
v_t = α_t·ε − σ_t·x₀                                            (progressive distillation, arXiv 2202.00512, app. D)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pipelines.errors import CheckpointError
from pipelines.sampler import OneStep, alphas_cumprod, one_step

PREDICTIONS = ("epsilon", "sample", "v_prediction")


@dataclass(frozen=True, kw_only=True, eq=False)
class Diffusion:
    """One noise schedule and prediction type. Timesteps are whole numbers 0 … T−1, B of them for a batch B×…

    ``scheduler`` is the content of ``scheduler_config.json``.
    """

    scheduler: Mapping[str, Any]
    alphas_bar: Tensor
    prediction: str

    @classmethod
    def from_config(cls, scheduler: Mapping[str, Any]) -> Diffusion:
        """Raises CheckpointError for a schedule or prediction type that is not known."""
        prediction = str(scheduler.get("prediction_type", "epsilon"))
        if prediction not in PREDICTIONS:
            raise CheckpointError(f"The prediction_type {prediction!r} is not known; use {', '.join(PREDICTIONS)}.")
        alphas_bar = torch.tensor(alphas_cumprod(scheduler), dtype=torch.float64)
        return cls(scheduler=scheduler, alphas_bar=alphas_bar, prediction=prediction)

    @property
    def timesteps(self) -> int:
        """T; the last timestep, where the one step starts, is T − 1."""
        return len(self.alphas_bar)

    @property
    def step(self) -> OneStep:
        """The one step that inference takes."""
        return one_step(self.scheduler)

    def alpha(self, t: Tensor, like: Tensor) -> Tensor:
        """α_t, shaped to multiply ``like``."""
        return _shaped(self.alphas_bar.sqrt(), t, like)

    def sigma(self, t: Tensor, like: Tensor) -> Tensor:
        """σ_t, shaped to multiply ``like``."""
        return _shaped((1 - self.alphas_bar).sqrt(), t, like)

    def add_noise(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """x_t."""
        return self.alpha(t, x0) * x0 + self.sigma(t, x0) * noise

    def target(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """What the network is to answer at x_t."""
        if self.prediction == "epsilon":
            return noise
        if self.prediction == "sample":
            return x0
        return self.alpha(t, x0) * noise - self.sigma(t, x0) * x0

    def x0(self, output: Tensor, noisy: Tensor, t: Tensor) -> Tensor:
        """x̂₀, the picture that the network's output at x_t means."""
        alpha, sigma = self.alpha(t, noisy), self.sigma(t, noisy)
        if self.prediction == "epsilon":
            return (noisy - sigma * output) / alpha
        return output if self.prediction == "sample" else alpha * noisy - sigma * output

    def eps(self, output: Tensor, noisy: Tensor, t: Tensor) -> Tensor:
        """ε̂, the noise that the network's output at x_t means."""
        alpha, sigma = self.alpha(t, noisy), self.sigma(t, noisy)
        if self.prediction == "epsilon":
            return output
        if self.prediction == "sample":
            return (noisy - alpha * output) / sigma
        return sigma * noisy + alpha * output

    def score(self, output: Tensor, noisy: Tensor, t: Tensor) -> Tensor:
        """∇ log p_t(x_t) as the network sees it."""
        return -self.eps(output, noisy, t) / self.sigma(t, noisy)


def _shaped(table: Tensor, t: Tensor, like: Tensor) -> Tensor:
    # Half precision is too coarse for the table; double stays double for the tests that need it.
    exact = torch.promote_types(like.dtype, torch.float32)
    values = table.to(exact).to(like.device)[t].to(like.dtype)
    return values.view(-1, *[1] * (like.ndim - 1))
