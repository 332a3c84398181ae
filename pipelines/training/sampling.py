"""Pictures from noise: a teacher in many steps, a student in one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import DPMSolverMultistepScheduler
from torch import Tensor

from pipelines.training.model import Model, Residuals, Words, predict


@torch.no_grad()
def sample(
    model: Model,
    noise: Tensor,
    prompts: Sequence[str],
    *,
    steps: int,
    guidance: float = 1.0,
    control: str | None = None,
    maps: Tensor | None = None,
    scale: Tensor | float = 1.0,
) -> Tensor:
    """Latents from standard normal ``noise`` (B×C×h×w) in ``steps`` of DPM-Solver++ (arXiv 2211.01095).

    ``guidance``: classifier-free guidance (arXiv 2207.12598) against the empty prompt; 1 is none, and half the time.
    ``control`` and ``maps``: the kind of ControlNet and what it is shown; ``scale``: how strongly, one number or B. The
    same noise gives the same latents.
    """
    solver = _solver(model, steps)
    words = model.words(prompts)
    nothing = model.words([""] * len(prompts)) if guidance != 1 else None
    latents = noise * solver.init_noise_sigma
    for timestep in solver.timesteps:
        noisy = solver.scale_model_input(latents, timestep)
        t = torch.full((len(noise),), int(timestep), device=noise.device)
        output = _answer(model, noisy, t, words, control, maps, scale)
        if nothing is not None:
            without = _answer(model, noisy, t, nothing, control, maps, scale)
            output = without + guidance * (output - without)
        latents = solver.step(output, timestep, latents, return_dict=False)[0]
    return latents


def one_step_latents(model: Model, unet: Any, noise: Tensor, words: Words, control: Residuals | None = None) -> Tensor:
    """The step that inference takes: latents = a·x_T + b·output (``pipelines.sampler``). Gradients pass."""
    step = model.diffusion.step
    t = torch.full((len(noise),), step.timestep, device=noise.device)
    output = predict(unet, step.input_scale * noise, t, words, control)
    return step.from_noise * noise + step.from_output * output


def _solver(model: Model, steps: int) -> DPMSolverMultistepScheduler:
    known = {"num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "prediction_type"}
    config = {key: value for key, value in model.diffusion.scheduler.items() if key in known}
    solver = DPMSolverMultistepScheduler(**config, timestep_spacing="trailing", final_sigmas_type="zero")
    solver.set_timesteps(steps)
    return solver


def _answer(
    model: Model,
    noisy: Tensor,
    t: Tensor,
    words: Words,
    control: str | None,
    maps: Tensor | None,
    scale: Tensor | float,
) -> Tensor:
    added = model.control(control, noisy, t, words, maps, scale) if control and maps is not None else None
    return predict(model.unet, noisy, t, words, added)
