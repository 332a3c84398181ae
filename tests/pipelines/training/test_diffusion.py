"""The forward process, what outputs mean, chance by sample, and a teacher's pictures against diffusers' own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler, StableDiffusionControlNetPipeline

from pipelines.errors import CheckpointError
from pipelines.training.dice import Dice
from pipelines.training.diffusion import PREDICTIONS, Diffusion
from pipelines.training.model import Model, Words, encode_words
from pipelines.training.sampling import one_step_latents, sample
from tests.pipelines import families
from tests.pipelines.training import tiny_teacher

SCHEDULE = {"_class_name": "DEISMultistepScheduler", "beta_start": 0.00085, "beta_end": 0.012}
SCHEDULE |= {"beta_schedule": "scaled_linear", "num_train_timesteps": 1000}


def diffusion(prediction: str = "epsilon") -> Diffusion:
    return Diffusion.from_config({**SCHEDULE, "prediction_type": prediction})


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_teacher.save(tmp_path_factory.mktemp("teacher"))


def test_noise_is_added_as_diffusers_adds_it() -> None:
    x0, noise, t = torch.randn(5, 4, 3, 3), torch.randn(5, 4, 3, 3), torch.tensor([0, 10, 500, 998, 999])
    theirs = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    assert torch.allclose(diffusion().add_noise(x0, noise, t), theirs.add_noise(x0, noise, t), atol=1e-6)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_a_perfect_answer_means_the_picture_and_the_noise_it_was_made_of(prediction: str) -> None:
    torch.manual_seed(1)
    x0, noise = torch.randn(2, 6, 4, dtype=torch.float64), torch.randn(2, 6, 4, dtype=torch.float64)
    process, t = diffusion(prediction), torch.tensor([3, 990])
    noisy = process.add_noise(x0, noise, t)
    output = process.target(x0, noise, t)
    assert torch.allclose(process.x0(output, noisy, t), x0, atol=1e-9)
    assert torch.allclose(process.eps(output, noisy, t), noise, atol=1e-9)


def test_the_score_of_a_gaussian_is_the_gradient_of_its_log_density() -> None:
    """x₀ ~ N(μ, s²): the best ε̂ is σ(x − αμ)/(α²s² + σ²), and the score is minus the variance's share of x − αμ."""
    process, t, mean, spread = diffusion(), torch.tensor([400]), 0.7, 0.3
    x = torch.randn(1, 9, dtype=torch.float64, requires_grad=True)
    alpha, sigma = process.alpha(t, x), process.sigma(t, x)
    variance = alpha**2 * spread**2 + sigma**2
    log_density = (-((x - alpha * mean) ** 2) / (2 * variance)).sum()
    (slope,) = torch.autograd.grad(log_density, x)
    assert torch.allclose(process.score(sigma * (x - alpha * mean) / variance, x, t), slope, atol=1e-10)


def test_an_unknown_prediction_is_one_sentence() -> None:
    with pytest.raises(CheckpointError, match="'flow' is not known; use epsilon"):
        diffusion("flow")


def test_chance_is_the_samples_own() -> None:
    whole = Dice(3, 7, range(6))
    draws = whole.normal(2, 2), whole.uniform(2, 5), whole.integers(0, 1000)
    first, rest = Dice(3, 7, range(2)), Dice(3, 7, range(2, 6))
    for drawn, name, arguments in zip(
        draws, ("normal", "uniform", "integers"), ((2, 2), (2, 5), (0, 1000)), strict=True
    ):
        parts = [getattr(each, name)(*arguments) for each in (first, rest)]
        assert torch.equal(torch.cat(parts), drawn)
    assert (draws[1] >= 2).all()
    assert (draws[1] < 5).all()
    others = [Dice(4, 7, range(6)), Dice(3, 8, range(6)), Dice(3, 7, range(6), turn=1), Dice(3, 7, range(6, 12))]
    assert all(not torch.isclose(each.normal(2, 2), draws[0]).any() for each in others)


def test_chance_is_normal_and_uniform_over_many_samples() -> None:
    dice = Dice(0, 0, range(4000))
    normal, uniform = dice.normal(3), dice.uniform()
    assert float(normal.mean()) == pytest.approx(0, abs=0.04)
    assert float(normal.std()) == pytest.approx(1, abs=0.04)
    assert float(uniform.mean()) == pytest.approx(0.5, abs=0.02)
    assert abs(float(torch.corrcoef(torch.stack([normal[:, 0], normal[:, 1]]))[0, 1])) < 0.06


def test_a_teacher_s_pictures_are_those_of_diffusers_pipeline(teacher: Path) -> None:
    pipe = StableDiffusionControlNetPipeline.from_pretrained(teacher)
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(
        pipe.scheduler.config, timestep_spacing="trailing", algorithm_type="dpmsolver++", final_sigmas_type="zero"
    )
    torch.manual_seed(2)
    noise, maps, prompts = torch.randn(2, 4, 8, 8), torch.rand(2, 3, 64, 64), ["a red dot", "blue"]
    theirs = pipe(
        prompts, image=maps, latents=noise, num_inference_steps=4, guidance_scale=3.0, output_type="latent"
    ).images
    ours = sample(Model.load(teacher), noise, prompts, steps=4, guidance=3.0, control="canny", maps=maps)
    assert np.allclose(ours, theirs, atol=1e-4)


def test_one_step_is_the_step_that_inference_takes(teacher: Path) -> None:
    model = Model.load(teacher)
    noise, words = torch.randn(1, 4, 8, 8), model.words(["a"])
    with torch.no_grad():
        latents = one_step_latents(model, model.unet, noise, words)
        output = model.unet(noise, torch.tensor([999]), words.tokens, return_dict=False)[0]
    t = torch.tensor([999])
    x0, eps = model.diffusion.x0(output, noise, t), model.diffusion.eps(output, noise, t)
    first = torch.tensor([0])  # DEIS stops at the schedule's first timestep
    assert torch.allclose(latents, model.diffusion.add_noise(x0, eps, first), atol=1e-4)


def test_prompts_of_two_encoders_are_encoded_as_inference_does(tmp_path: Path) -> None:
    from pipelines.prompt import PromptEncoder

    _, directory = families.sdxl(tmp_path)
    model = Model.load(directory)
    theirs = PromptEncoder(model.tokenizers, model.text_encoders)("a cat")
    ours = model.words(["dog", "a cat"])
    assert isinstance(ours, Words)
    assert torch.allclose(ours.tokens[1], theirs.tokens, atol=1e-6)
    assert ours.pooled is not None
    assert theirs.pooled is not None
    assert torch.allclose(ours.pooled[1], theirs.pooled, atol=1e-6)
    added = ours.added(torch.zeros(2, 4, 3, 5))
    assert added is not None
    assert added["time_ids"].tolist() == [[24, 40, 0, 0, 24, 40]] * 2
    encode_words(model.text_encoders, model.tokenizers, ["a"])
