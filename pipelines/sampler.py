"""The one sampling step, as two numbers.

A one-step model is asked once, at the last timestep T = 999, and a first-order solver carries its answer to the end of
the trajectory. Every such solver is linear in the starting noise x_T and the model's output m, so the whole step is

    latents = from_noise · x_T + from_output · m

and the two numbers come out of the noise schedule. With ᾱ the cumulative product of 1 - β (DDPM, arXiv 2006.11239,
eq. 4), α = √ᾱ_T, σ = √(1 - ᾱ_T), and (α₀, σ₀) the point where the solver stops, the step is latents = α₀·x̂₀ + σ₀·ε̂
(DDIM, arXiv 2010.02502, eq. 12, with η = 0), where x̂₀ and ε̂ follow from the prediction type.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from pipelines.errors import CheckpointError

#: Schedulers whose last step lands on exact x̂₀ (their last sigma is 0).
_LANDS_ON_ZERO = {"DPMSolverMultistepScheduler"}
#: DEIS stops at t = 0 of the schedule, where a little noise is left: that is what SDXS's authors run.
_LANDS_ON_FIRST_TIMESTEP = {"DEISMultistepScheduler"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class OneStep:
    """``latents = from_noise · x_T + from_output · model_output``, asked at ``timestep``."""

    timestep: int
    from_noise: float
    from_output: float


def one_step(scheduler: Mapping[str, Any]) -> OneStep:
    """The step that a diffusers scheduler with this configuration takes with ``num_inference_steps=1``.

    ``scheduler`` is the content of ``scheduler_config.json``. Raises CheckpointError for a scheduler, spacing, schedule
    or prediction type whose single step is not known to be first order from the last timestep.
    """
    steps = int(scheduler.get("num_train_timesteps", 1000))
    _check_spacing(scheduler)
    alphas_bar = _alphas_cumprod(scheduler, steps)
    alpha, sigma = math.sqrt(alphas_bar[-1]), math.sqrt(1 - alphas_bar[-1])
    alpha_end, sigma_end = _landing(scheduler, alphas_bar[0])
    x0, eps = _predictions(str(scheduler.get("prediction_type", "epsilon")), alpha, sigma)
    return OneStep(
        timestep=steps - 1,
        from_noise=alpha_end * x0[0] + sigma_end * eps[0],
        from_output=alpha_end * x0[1] + sigma_end * eps[1],
    )


def _check_spacing(scheduler: Mapping[str, Any]) -> None:
    """``leading`` spacing would start one step at t = 1, where there is nothing left to paint."""
    spacing = scheduler.get("timestep_spacing", "linspace")
    if spacing not in {"linspace", "trailing"}:
        raise CheckpointError(
            f"The scheduler's timestep_spacing is {spacing!r}, whose single step would not start at the last timestep; "
            "set it to 'trailing' in scheduler_config.json."
        )


def _alphas_cumprod(scheduler: Mapping[str, Any], steps: int) -> list[float]:
    schedule = scheduler.get("beta_schedule", "linear")
    start, end = float(scheduler.get("beta_start", 1e-4)), float(scheduler.get("beta_end", 0.02))
    if schedule == "scaled_linear":  # linear in √β, as in Latent Diffusion (arXiv 2112.10752)
        low, high = math.sqrt(start), math.sqrt(end)
        betas = [(low + (high - low) * i / (steps - 1)) ** 2 for i in range(steps)]
    elif schedule == "linear":
        betas = [start + (end - start) * i / (steps - 1) for i in range(steps)]
    else:
        raise CheckpointError(
            f"The scheduler's beta_schedule {schedule!r} is not known; use 'scaled_linear' or 'linear'."
        )
    product, products = 1.0, []
    for beta in betas:
        product *= 1.0 - beta
        products.append(product)
    return products


def _landing(scheduler: Mapping[str, Any], first_alpha_bar: float) -> tuple[float, float]:
    name = str(scheduler.get("_class_name", ""))
    if name in _LANDS_ON_FIRST_TIMESTEP:
        return math.sqrt(first_alpha_bar), math.sqrt(1 - first_alpha_bar)
    if name in _LANDS_ON_ZERO:
        return 1.0, 0.0
    known = ", ".join(sorted(_LANDS_ON_ZERO | _LANDS_ON_FIRST_TIMESTEP))
    raise CheckpointError(f"The scheduler {name!r} has no known one-step form; known are {known}.")


def _predictions(kind: str, alpha: float, sigma: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """x̂₀ and ε̂, each as weights on (x_T, model output)."""
    if kind == "epsilon":
        return (1 / alpha, -sigma / alpha), (0.0, 1.0)
    if kind == "sample":
        return (0.0, 1.0), (1 / sigma, -alpha / sigma)
    if kind == "v_prediction":  # progressive distillation, arXiv 2202.00512, appendix D
        return (alpha, -sigma), (sigma, alpha)
    raise CheckpointError(
        f"The scheduler's prediction_type {kind!r} is not known; use epsilon, sample or v_prediction."
    )
