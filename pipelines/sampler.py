"""The one sampling step, as three numbers.

A one-step model is asked once, at the last timestep T = 999, and a first-order solver carries its answer to the end of
the trajectory. Every such solver is linear in the starting noise x_T and the model's output m, so the whole step is

    m = model(input_scale · x_T, T),   latents = from_noise · x_T + from_output · m

and the numbers come out of the noise schedule. With ᾱ the cumulative product of 1 - β (DDPM, arXiv 2006.11239, eq. 4),
α = √ᾱ_T, σ = √(1 - ᾱ_T), and (α₀, σ₀) the point where the solver stops, the step is latents = α₀·x̂₀ + σ₀·ε̂ (DDIM, arXiv
2010.02502, eq. 12, with η = 0), where x̂₀ and ε̂ follow from the prediction type.

A scheduler's ``timestep_spacing`` is not followed: it says how to spread many steps, and ``leading`` would start a
single one at t = 1, where no one-step model was trained.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import operator
from collections.abc import Mapping
from typing import Any

from pipelines.errors import CheckpointError

#: Solvers that stop at the schedule's first timestep, where a little noise is left; DEIS is what SDXS's authors run.
_STOP_AT_FIRST = {"DEISMultistepScheduler", "TCDScheduler"}
#: Solvers that stop at x̂₀ itself unless ``final_sigmas_type`` is ``sigma_min``.
_BY_FINAL_SIGMA = {
    "DPMSolverMultistepScheduler",
    "UniPCMultistepScheduler",
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
}
#: Solvers that stop at x̂₀ if ``set_alpha_to_one`` says so; each with its default.
_BY_FINAL_ALPHA = {"DDIMScheduler": True, "PNDMScheduler": False}
#: Solvers in the variance-exploding frame, x / α: they start from σ/α · noise and hand the model x / √(1 + σ²/α²).
_EXPLODING = {"EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler"}
_CONSISTENCY = "LCMScheduler"
KNOWN = frozenset({*_STOP_AT_FIRST, *_BY_FINAL_SIGMA, *_BY_FINAL_ALPHA, _CONSISTENCY})
#: Options that make a step something else than the linear map above.
_NONLINEAR = ("thresholding", "clip_sample", "rescale_betas_zero_snr")

Weights = tuple[float, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class OneStep:
    """``latents = from_noise · x_T + from_output · model(input_scale · x_T, timestep)``, with x_T standard normal."""

    timestep: int
    from_noise: float
    from_output: float
    input_scale: float = 1.0


def one_step(scheduler: Mapping[str, Any]) -> OneStep:
    """The step that a diffusers scheduler with this configuration takes from the last timestep to the end at once.

    ``scheduler`` is the content of ``scheduler_config.json``. Raises CheckpointError for a scheduler, schedule, option
    or prediction type whose single step is not known.
    """
    name = str(scheduler.get("_class_name", ""))
    _check(name, scheduler)
    alphas_bar = alphas_cumprod(scheduler)
    alpha, sigma = math.sqrt(alphas_bar[-1]), math.sqrt(1 - alphas_bar[-1])
    x0, eps = _predictions(str(scheduler.get("prediction_type", "epsilon")), alpha, sigma)
    # diffusers starts these from σ/α · noise; brought back to the frame of the others that is σ · noise.
    scale = sigma if name in _EXPLODING else 1.0
    x0, eps = (scale * x0[0], x0[1]), (scale * eps[0], eps[1])
    timestep = len(alphas_bar) - 1
    if name == _CONSISTENCY:
        from_noise, from_output = _consistency(scheduler, timestep, x0)
    else:
        first = alphas_bar[0]
        alpha_end, sigma_end = (1.0, 0.0) if _lands_clean(name, scheduler) else (math.sqrt(first), math.sqrt(1 - first))
        from_noise, from_output = (alpha_end * x + sigma_end * e for x, e in zip(x0, eps, strict=True))
    return OneStep(timestep=timestep, from_noise=from_noise, from_output=from_output, input_scale=scale)


def _check(name: str, scheduler: Mapping[str, Any]) -> None:
    if name not in KNOWN:
        raise CheckpointError(
            f"The scheduler {name!r} has no known one-step form; known are {', '.join(sorted(KNOWN))}."
        )
    for option in _NONLINEAR:
        if scheduler.get(option):
            raise CheckpointError(
                f"The scheduler's {option} is on, which a single step can't follow; turn it off in "
                "scheduler_config.json."
            )


def alphas_cumprod(scheduler: Mapping[str, Any]) -> list[float]:
    steps = int(scheduler.get("num_train_timesteps", 1000))
    if scheduler.get("trained_betas"):
        return _products([float(beta) for beta in scheduler["trained_betas"]])
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
    return _products(betas)


def _products(betas: list[float]) -> list[float]:
    return list(itertools.accumulate((1.0 - beta for beta in betas), operator.mul))


def _lands_clean(name: str, scheduler: Mapping[str, Any]) -> bool:
    if name in _BY_FINAL_SIGMA:
        return scheduler.get("final_sigmas_type", "zero") == "zero"
    return bool(scheduler.get("set_alpha_to_one", _BY_FINAL_ALPHA[name])) if name in _BY_FINAL_ALPHA else False


def _consistency(scheduler: Mapping[str, Any], timestep: int, x0: Weights) -> Weights:
    """latents = c_skip·x_T + c_out·x̂₀: a consistency function's boundary conditions (arXiv 2310.04378, section 3.1)."""
    data, time = 0.5, timestep * float(scheduler.get("timestep_scaling", 10.0))
    skip, out = data**2 / (time**2 + data**2), time / math.sqrt(time**2 + data**2)
    return skip + out * x0[0], out * x0[1]


def _predictions(kind: str, alpha: float, sigma: float) -> tuple[Weights, Weights]:
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
