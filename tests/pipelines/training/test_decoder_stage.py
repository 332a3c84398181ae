"""The decoder stage: its loss by hand, its players apart, and a decoder that learns and is loaded."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderTiny

from pipelines.decoder import TINY
from pipelines.sdxs import SDXSPipeline
from pipelines.training.dice import Dice
from pipelines.training.loop import Trainer
from pipelines.training.model import Model
from pipelines.training.phase import Plan
from pipelines.training.run import Run
from pipelines.training.stages import decoder
from pipelines.training.stages.decoder import DecoderPhase, DecoderPlan, coarse_l1
from tests.pipelines.training.small_run import first_batch, gradients, same, small_run

PLAN = DecoderPlan(
    plan=Plan(steps=60, learning_rate=5e-3, batch=4, warmup=5, ema=0.0),
    channels=8,
    blocks=(1, 1, 1, 1),
    encoder_channels=8,
    encoder_blocks=(1, 1, 1, 1),
    critic_channels=4,
    adversarial_from=0.5,
    pixels=0.25,
)
LATE = PLAN.plan.steps - 1  # the game is on
NOW = torch.device("cpu")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return small_run(tmp_path_factory.mktemp("decoder"), decoder=PLAN)


@pytest.fixture
def phase(run: Run) -> Any:
    (only,) = decoder.phases(run, device=NOW)
    return only


def test_the_coarse_loss_is_that_of_means_of_patches() -> None:
    torch.manual_seed(0)
    picture, target = torch.randn(2, 2, 3, 16, 24, dtype=torch.float64)
    apart = [
        abs(sum(float((picture - target)[b, c, 8 * y + i, 8 * x + j]) for i in range(8) for j in range(8)) / 64)
        for b in range(2)
        for c in range(3)
        for y in range(2)
        for x in range(3)
    ]
    assert float(coarse_l1(picture, target)) == pytest.approx(sum(apart) / len(apart), rel=1e-12)


@torch.no_grad()
def test_the_decoder_is_told_of_the_picture_and_the_game(phase: DecoderPhase) -> None:
    batch = first_batch(phase, 2)
    player, critic = phase.players["decoder"], phase.players["discriminator"].critic
    found = player(batch, Dice(0, LATE, range(2)))
    picture = player.decoder(batch["latents"])
    fooling = sum(math.log(1 + math.exp(-float(each))) for each in critic(picture, batch["latents"]).flatten()) / (
        2 * 8 * 8
    )
    pixels = float((picture - batch["picture"]).abs().mean())
    expected = float(coarse_l1(picture, batch["picture"])) + 0.25 * pixels + PLAN.adversarial * fooling
    assert float(found["loss"]) == pytest.approx(expected, rel=1e-5)
    before = player(batch, Dice(0, LATE // 2, range(2)))
    assert float(before["loss"]) == pytest.approx(expected - PLAN.adversarial * fooling, rel=1e-5)
    assert [*phase.players["discriminator"](batch, Dice(0, LATE // 2, range(2)))] == ["loss"]


def test_each_player_trains_its_own_part_alone(phase: DecoderPhase) -> None:
    batch = first_batch(phase, 2)
    names = {name: {id(each) for each in player.parameters()} for name, player in phase.players.items()}
    assert not names["decoder"] & names["discriminator"]
    assert not names["decoder"] & names["encoder"]
    for name, player in phase.players.items():
        player(batch, Dice(0, LATE, range(2)))["loss"].backward()
        for other, opponent in phase.players.items():
            touched = any(each.grad is not None for each in opponent.parameters())
            assert touched == (other == name), f"{other} in the turn of {name}"
        player.zero_grad()


@pytest.mark.parametrize("name", ["decoder", "encoder", "discriminator"])
def test_pieces_of_a_batch_give_the_gradient_of_the_whole(phase: DecoderPhase, name: str) -> None:
    player, batch = phase.players[name], first_batch(phase, 4)
    whole = gradients(player, batch, pieces=[4], step=LATE)
    assert same(whole, gradients(player, batch, pieces=[1, 3], step=LATE))


def test_the_student_learns_and_is_written_with_the_teachers_other_parts(
    run: Run, phase: DecoderPhase, tmp_path: Path
) -> None:
    before = phase.validate()
    assert phase.validate() == before
    Trainer(phase, tmp_path / "decoder").run(exported=tmp_path / "model")
    after = phase.validate()
    assert after["picture_l1"] < 0.6 * before["picture_l1"]
    assert after["latent_l1"] < 0.96 * before["latent_l1"]  # random weights leave little of a latent to be seen
    assert phase.picture().shape == (2 * 64, 8 * 64, 3)
    written, teacher = Model.load(tmp_path / "model"), Model.load(run.teacher)
    latents = torch.stack([phase.fetch(i)["latents"] for i in range(2)])
    assert torch.allclose(written.decode(latents), phase.averaged["decoder"](latents), atol=1e-6)
    assert torch.equal(written.unet.conv_in.weight, teacher.unet.conv_in.weight)
    picture = written.decode(latents)
    assert torch.allclose(written.encode(picture), phase.players["encoder"].encoder(picture), atol=1e-6)
    SDXSPipeline.from_pretrained(tmp_path / "model", backend="eager", device="cpu", size=(64, 64))


def test_the_defaults_are_the_papers_decoder(run: Run) -> None:
    settings = DecoderPlan(plan=PLAN.plan)
    player = DecoderPhase(settings, run.folder, 4, [], []).players["decoder"]
    layout = AutoencoderTiny(latent_channels=TINY["latent_channels"]).decoder
    assert [each.shape for each in player.parameters()] == [each.shape for each in layout.parameters()]
    assert 1.2e6 < sum(each.numel() for each in player.parameters()) < 1.25e6
    alone = DecoderPhase(DecoderPlan(plan=PLAN.plan, adversarial=0.0), run.folder, 4, [], [])
    assert [*alone.players] == ["decoder", "encoder"]
