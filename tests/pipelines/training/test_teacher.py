"""The teacher's stage: its losses fall, its gradients don't depend on how the batch is cut, its directory loads."""

import dataclasses
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import default_collate

from pipelines.errors import TrainingError
from pipelines.presets import read_preset
from pipelines.training.dice import Dice
from pipelines.training.diffusion import Diffusion
from pipelines.training.fresh import Networks
from pipelines.training.journal import VALIDATION, read_journal
from pipelines.training.model import Model
from pipelines.training.phase import Phase, Plan
from pipelines.training.run import Run
from pipelines.training.sampling import sample
from pipelines.training.stages.teacher import TeacherPlan, phases
from pipelines.training.stages.teacher_denoising import _Denoising
from pipelines.training.stages.teacher_players import ControlNetPlayer, DiffusionPlayer, weight
from pipelines.training.train import train

CPU = torch.device("cpu")
NETWORKS = Networks(
    autoencoder_channels=8,
    encoder_blocks=(0, 0, 0, 1),
    decoder_blocks=(1, 0, 0, 0),
    channels=(8, 16, 16, 16),
    heads=2,
    norm_groups=4,
    control_channels=(8, 8, 8, 8),
    text_width=16,
    text_layers=1,
    text_length=16,
    vocabulary=640,
)


def plan(steps: int, rate: float) -> Plan:
    return Plan(steps=steps, learning_rate=rate, batch=8, warmup=4, ema=0.5)


PLAN = TeacherPlan(
    networks=NETWORKS,
    autoencoder=plan(30, 1e-2),
    diffusion=plan(20, 1e-2),
    controlnet=plan(10, 1e-2),
    shown_steps=2,
)


def run_of(folder: Path, settings: TeacherPlan | None = PLAN, data: str = "shapes") -> Run:
    recipe: Any = SimpleNamespace(name="tiny", size=(64, 64), data=data, teacher="elsewhere", teacher_plan=settings)
    return Run(folder=folder, recipe=recipe)


Trained = tuple[Run, list[tuple[str, dict[str, float], dict[str, float]]]]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A run with the stage trained, and of each phase its name and validation numbers before and after."""
    run = run_of(tmp_path_factory.mktemp("teacher"))
    train("teacher", run)
    found = []
    for name in ("autoencoder", "diffusion", "controlnet"):
        before, *_, after = read_journal(run.folder / "teacher" / name, VALIDATION)
        found.append((name, before, after))
    return run, found


def test_each_phase_learns(trained: Trained) -> None:
    names = [name for name, _, _ in trained[1]]
    assert names == ["autoencoder", "diffusion", "controlnet"]
    (_, before, after), (_, noisy, denoised), (_, uncontrolled, controlled) = trained[1]
    assert after["picture_l1"] < 0.8 * before["picture_l1"]
    assert after["psnr"] > before["psnr"] + 1
    assert denoised["denoising"] < 0.8 * noisy["denoising"]
    assert controlled["without"] == pytest.approx(uncontrolled["without"], rel=1e-5)  # the U-Net is frozen
    assert controlled["denoising"] != uncontrolled["denoising"]


def test_the_finished_directory_is_a_model_with_a_controlnet(trained: Trained) -> None:
    run, _ = trained
    directory = run.model("teacher", wanted_by="decoder")
    preset = read_preset(directory)
    assert preset.size == (64, 64)
    assert [(control.kind, control.folder) for control in preset.controls] == [("canny", "controlnet")]
    for weights in directory.rglob("*.safetensors"):
        assert stat.S_IMODE(weights.stat().st_mode) == 0o644
    teacher = Model.load(directory)
    assert teacher.diffusion.prediction == "v_prediction"
    assert teacher.inverted == frozenset()
    noise = torch.randn(2, *teacher.latent_shape(64, 64))
    maps = torch.rand(2, 3, 64, 64)
    words = ["a red circle on a blue ground", ""]
    latents = sample(teacher, noise, words, steps=2, guidance=2.0, control="canny", maps=maps)
    assert teacher.decode(latents).shape == (2, 3, 64, 64)


def test_latents_have_about_unit_variance(trained: Trained) -> None:
    run, _ = trained
    teacher = Model.load(run.model("teacher", wanted_by="decoder"))
    phase = first(run)
    pictures = torch.stack([phase.fetch(position)["picture"] for position in range(32)])
    assert 0.8 < float(teacher.encode(pictures).std()) < 1.25


def test_the_next_phase_begins_with_the_averaged_weights_of_the_one_before(trained: Trained) -> None:
    run, found = trained
    *_, control = phases(run, device=CPU)
    with torch.no_grad():
        assert control.validate()["without"] == pytest.approx(found[2][1]["without"], rel=1e-5)
    validated = read_journal(run.folder / "teacher/diffusion", VALIDATION)[-1]["denoising"]
    assert found[2][1]["without"] == pytest.approx(validated, rel=1e-4)


def first(run: Run) -> Phase:
    return next(iter(phases(run, device=CPU)))


@pytest.mark.parametrize("number", [0, 1, 2])
def test_pieces_of_a_batch_give_the_gradients_of_the_whole(trained: Trained, number: int) -> None:
    run, _ = trained
    phase = list(phases(run, device=CPU))[number]
    (player,) = phase.players.values()
    _double(phase, player)
    whole = _gradients(phase, player, [range(6)])
    parts = _gradients(phase, player, [range(2), range(2, 5), range(5, 6)])
    assert whole.keys() == parts.keys()
    assert any(gradient.abs().max() > 1e-6 for gradient in whole.values())
    for name, gradient in whole.items():
        torch.testing.assert_close(parts[name], gradient, rtol=1e-7, atol=1e-10)


def _double(phase: Phase, player: nn.Module) -> None:
    player.double().requires_grad_(True)
    if isinstance(phase, _Denoising):
        model = phase._model
        for module in (model.unet, model.vae, *model.text_encoders):
            module.double()


def _gradients(phase: Phase, player: nn.Module, pieces: list[range]) -> dict[str, torch.Tensor]:
    player.zero_grad()
    for places in pieces:
        batch = default_collate([phase.fetch(place) for place in places])
        batch = {key: value.double() if isinstance(value, torch.Tensor) else value for key, value in batch.items()}
        loss = player(batch, Dice(0, 5, places))["loss"]
        (loss * len(places) / 6).backward()
    return {name: each.grad.clone() for name, each in player.named_parameters() if each.grad is not None}


def test_the_players_register_what_they_train_and_nothing_else(trained: Trained) -> None:
    run, _ = trained
    _, diffusion, control = phases(run, device=CPU)
    (denoiser,) = diffusion.players.values()
    (controller,) = control.players.values()
    assert isinstance(denoiser, DiffusionPlayer)
    assert {name for name, _ in denoiser.named_children()} == {"unet", "text_encoder"}
    assert isinstance(controller, ControlNetPlayer)
    assert {name for name, _ in controller.named_children()} == {"controlnet"}


def test_pictures_are_grids(trained: Trained) -> None:
    run, _ = trained
    heights = []
    for phase in phases(run, device=CPU):
        with torch.no_grad():
            picture = phase.picture()
        assert (picture.dtype, picture.shape[1:]) == (np.uint8, (8 * 64, 3))
        heights.append(picture.shape[0])
    assert heights == [128, 128, 192]


def test_another_kind_gets_a_controlnet_beside_the_first(trained: Trained, tmp_path: Path) -> None:
    run, _ = trained
    both = run_of(run.folder, dataclasses.replace(PLAN, kinds=("canny", "sketch")))
    *_, phase = phases(both, device=CPU)
    assert phase.name == "teacher/controlnet-sketch"
    phase.export(tmp_path / "both", {name: network.state_dict() for name, network in phase.averaged.items()})
    assert [(each.kind, each.folder, each.polarity) for each in read_preset(tmp_path / "both").controls] == [
        ("canny", "controlnet", "white on black"),
        ("sketch", "controlnet-sketch", "black on white"),
    ]
    teacher = Model.load(tmp_path / "both")
    assert set(teacher.controlnets) == {"sketch", "canny"}
    assert teacher.controlnets["sketch"] is not teacher.controlnets["canny"]


def test_what_cant_be_trained_on_is_told(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="needs no teacher trained: it takes elsewhere"):
        first(run_of(tmp_path, None))
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("one\ntwo\n")
    with pytest.raises(TrainingError, match="learns from pictures"):
        first(run_of(tmp_path, data=str(prompts)))


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
def test_min_snr_weighs_every_prediction_as_the_same_error_of_x0(prediction: str) -> None:
    """min(SNR, γ)·‖x̂₀ − x₀‖², whatever the network answers with."""
    config = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
    diffusion = Diffusion.from_config({**config, "prediction_type": prediction})
    generator = torch.Generator().manual_seed(0)
    x0, noise, wrong = (torch.randn(6, 4, 2, 2, dtype=torch.float64, generator=generator) for _ in range(3))
    t = torch.tensor([0, 100, 300, 500, 800, 999])
    noisy, target = diffusion.add_noise(x0, noise, t), diffusion.target(x0, noise, t)
    output = target + 0.1 * wrong
    errors = (output - target).square().flatten(1).mean(1)
    of_x0 = (diffusion.x0(output, noisy, t) - x0).square().flatten(1).mean(1)
    snr = diffusion.alphas_bar[t] / (1 - diffusion.alphas_bar[t])
    torch.testing.assert_close(weight(diffusion, t, errors, 5.0) * errors, snr.clamp(max=5.0) * of_x0)
    assert (weight(diffusion, t, errors, 0.0) == 1).all()
