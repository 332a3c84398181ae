"""The numbers of the step against the published ones and against diffusers' own schedulers."""

from __future__ import annotations

import diffusers
import pytest
import torch

from pipelines.errors import CheckpointError
from pipelines.sampler import KNOWN, one_step

SD = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
LINEAR = {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02}
#: What diffusers needs to be told to take the one step from the last timestep, and what a published file leaves out.
OPTIONS = {
    "DDIMScheduler": {"timestep_spacing": "trailing", "clip_sample": False},
    "PNDMScheduler": {"timestep_spacing": "trailing", "skip_prk_steps": True},
    "LCMScheduler": {"clip_sample": False},
    "TCDScheduler": {"clip_sample": False},
}


def test_sdxs_coefficients_come_out_of_the_schedule() -> None:
    step = one_step({"_class_name": "DEISMultistepScheduler", **SD})
    assert step.timestep == 999
    assert step.from_noise == pytest.approx(14.642591, abs=1e-3)
    assert step.from_output == pytest.approx(-14.579279, abs=1e-3)
    assert step.input_scale == 1.0


def test_exact_x0_has_the_other_published_coefficients() -> None:
    step = one_step({"_class_name": "DPMSolverMultistepScheduler", **SD})
    assert (step.from_noise, step.from_output) == pytest.approx((14.6488, -14.6146), abs=1e-3)


def by_diffusers(name: str, noise: torch.Tensor, model_output: torch.Tensor, **config: object) -> tuple:
    """The step as its pipelines take it: initial scale, input scale, step. Latents, model input and timestep."""
    options = OPTIONS.get(name, {"timestep_spacing": "trailing"})
    scheduler = getattr(diffusers, name)(**options, **config)
    scheduler.set_timesteps(1)
    start = noise * scheduler.init_noise_sigma
    given = scheduler.scale_model_input(start, scheduler.timesteps[0])
    latents = scheduler.step(model_output, scheduler.timesteps[0], start).prev_sample
    return latents, given, int(scheduler.timesteps[0]), {**scheduler.config, "_class_name": name}


#: Two of diffusers' schedulers have no step for models that predict the sample itself.
NO_SAMPLE = {"PNDMScheduler", "EulerAncestralDiscreteScheduler"}
STEPS = [
    (p, n) for p in ("epsilon", "sample", "v_prediction") for n in sorted(KNOWN) if p != "sample" or n not in NO_SAMPLE
]


TRAINED = {"trained_betas": [0.001 + 0.00002 * i for i in range(1000)]}


@pytest.mark.parametrize(("prediction", "name"), STEPS)
@pytest.mark.parametrize("schedule", [SD, LINEAR, TRAINED], ids=["scaled", "linear", "trained"])
def test_step_is_diffusers_own(prediction: str, name: str, schedule: dict) -> None:
    noise, output = torch.randn(2, 1, 4, 8, 8, dtype=torch.float64)
    latents, given, timestep, config = by_diffusers(name, noise, output, prediction_type=prediction, **schedule)
    step = one_step(config)
    assert timestep == step.timestep
    assert torch.allclose(step.input_scale * noise, given.double(), atol=1e-5)
    ours = step.from_noise * noise + step.from_output * output
    assert torch.allclose(ours, latents.double(), atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("DDIMScheduler", {"set_alpha_to_one": False}),
        ("DPMSolverMultistepScheduler", {"final_sigmas_type": "sigma_min"}),
        ("PNDMScheduler", {"set_alpha_to_one": True}),
    ],
)
def test_where_the_step_lands_follows_the_configuration(name: str, option: dict) -> None:
    noise, output = torch.randn(2, 1, 4, 8, 8, dtype=torch.float64)
    latents, _, _, config = by_diffusers(name, noise, output, **option, **SD)
    step = one_step(config)
    assert step != one_step({"_class_name": name, **SD})
    assert torch.allclose(step.from_noise * noise + step.from_output * output, latents.double(), atol=1e-3, rtol=1e-4)


def test_leading_spacing_starts_at_the_last_timestep_all_the_same() -> None:
    leading = {"_class_name": "DEISMultistepScheduler", "timestep_spacing": "leading", "steps_offset": 1, **SD}
    assert one_step(leading) == one_step({**leading, "timestep_spacing": "trailing"})


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"beta_schedule": "squaredcos_cap_v2"}, "squaredcos_cap_v2"),
        ({"prediction_type": "flow"}, "flow"),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler"}, "FlowMatchEulerDiscreteScheduler"),
        ({"thresholding": True}, "thresholding"),
        ({"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr"),
    ],
)
def test_what_has_no_single_step_is_refused_by_name(change: dict, word: str) -> None:
    with pytest.raises(CheckpointError, match=word):
        one_step({"_class_name": "DEISMultistepScheduler", **SD, **change})
