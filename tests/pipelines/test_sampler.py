"""The two numbers of the step against the published ones and against diffusers' own schedulers."""

from __future__ import annotations

import pytest
import torch
from diffusers import DEISMultistepScheduler, DPMSolverMultistepScheduler

from pipelines.errors import CheckpointError
from pipelines.sampler import one_step

SD = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


def test_sdxs_coefficients_come_out_of_the_schedule() -> None:
    step = one_step({"_class_name": "DEISMultistepScheduler", **SD})
    assert step.timestep == 999
    assert step.from_noise == pytest.approx(14.642591, abs=1e-3)
    assert step.from_output == pytest.approx(-14.579279, abs=1e-3)


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize("scheduler_class", [DEISMultistepScheduler, DPMSolverMultistepScheduler])
@pytest.mark.parametrize("schedule", [SD, {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02}])
def test_step_is_diffusers_own(prediction: str, scheduler_class: type, schedule: dict) -> None:
    scheduler = scheduler_class(prediction_type=prediction, timestep_spacing="trailing", **schedule)
    scheduler.set_timesteps(1)
    noise, output = torch.randn(2, 1, 4, 8, 8, dtype=torch.float64)
    step = one_step({**scheduler.config, "_class_name": scheduler_class.__name__})
    theirs = scheduler.step(output, scheduler.timesteps[0], noise).prev_sample
    assert scheduler.timesteps[0] == step.timestep
    ours = step.from_noise * noise + step.from_output * output
    assert torch.allclose(ours, theirs.double(), atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"timestep_spacing": "leading"}, "trailing"),
        ({"beta_schedule": "squaredcos_cap_v2"}, "squaredcos_cap_v2"),
        ({"prediction_type": "flow"}, "flow"),
        ({"_class_name": "PNDMScheduler"}, "PNDMScheduler"),
    ],
)
def test_what_has_no_single_step_is_refused_by_name(change: dict, word: str) -> None:
    with pytest.raises(CheckpointError, match=word):
        one_step({"_class_name": "DEISMultistepScheduler", **SD, **change})
