"""The last pass: its loss by hand, its players apart, and a LoRA that is the same folded in and on its own."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from peft import PeftModel

from pipelines.errors import TrainingError
from pipelines.lora import LoraSwitch, load_lora
from pipelines.sdxs import SDXSPipeline
from pipelines.settings import Settings
from pipelines.training.data.dataset import open_data
from pipelines.training.data.samples import ensure_samples
from pipelines.training.dice import Dice
from pipelines.training.journal import VALIDATION, read_journal
from pipelines.training.loop import Trainer
from pipelines.training.low_rank import TrainedLora
from pipelines.training.model import Model
from pipelines.training.phase import Plan
from pipelines.training.run import Run
from pipelines.training.sampling import one_step_latents
from pipelines.training.stages import gan_finetune
from pipelines.training.stages.gan_finetune import GanPhase, GanPlan
from tests.pipelines import tiny
from tests.pipelines.training.small_run import first_batch, gradients, same, small_run

PLAN = GanPlan(
    plan=Plan(steps=12, learning_rate=5e-3, batch=8, warmup=5, ema=0.0),
    convolutions=True,
    critic_channels=8,
    anchor=1.0,
)
LATE = PLAN.plan.steps - 1  # both play
HERE = torch.device("cpu")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that has come as far as its one-step model; that one has a ControlNet, too."""
    run = small_run(tmp_path_factory.mktemp("gan"), gan_finetune=PLAN)
    _, student = tiny.save(run.folder / "one-step", prediction_type="v_prediction")
    assert student == run.folder / "one-step" / "model"
    return run


@pytest.fixture
def phase(run: Run) -> Any:
    (only,) = gan_finetune.phases(run, device=HERE)
    only.to(HERE)
    return only


def stir(phase: Any) -> None:
    """A LoRA that does something, as after some steps."""
    torch.manual_seed(5)
    for each in phase.averaged["lora"].parameters():
        torch.nn.init.normal_(each, std=0.2)


def test_the_student_is_told_of_the_game_and_of_its_start(run: Run, phase: Any) -> None:
    batch = first_batch(phase, 3)
    start, teacher = Model.load(run.folder / "one-step" / "model"), Model.load(run.teacher)
    player, heads = phase.players["student"], phase.players["discriminator"].heads
    assert float(player(batch, Dice(0, LATE, range(3)))["anchor"].detach()) == 0, "an untrained LoRA changes nothing"
    stir(phase)
    found = player(batch, Dice(0, LATE, range(3)))
    dice, words = Dice(0, LATE, range(3)), start.words(batch["prompt"])
    fresh, drawn = dice.uniform(), dice.normal(4, 8, 8)
    noise = torch.stack([drawn[i] if float(fresh[i]) < 0.5 else batch["noise"][i] for i in range(3)])
    before = one_step_latents(start, start.unet, noise, words)
    now = phase.arena.paint(noise, words)
    anchor = sum(float(each) ** 2 for each in (now - before).detach().flatten()) / now.numel()
    assert float(found["anchor"].detach()) == pytest.approx(anchor, rel=1e-4)
    t, blur = dice.integers(20, 400), dice.normal(4, 8, 8)
    noisy = torch.stack(
        [
            now[i] * float(teacher.diffusion.alphas_bar[t[i]]) ** 0.5
            + blur[i] * float(1 - teacher.diffusion.alphas_bar[t[i]]) ** 0.5
            for i in range(3)
        ]
    )
    features = phase.arena.look(now, words, t, blur)
    seen = gan_finetune.encoder_features(teacher.unet, noisy, t, words)
    for ours, theirs in zip(features, seen, strict=True):  # but for each channel's own scale they are the teacher's
        a, b = (each - each.mean((0, 2, 3), True) for each in (ours, theirs))
        assert torch.allclose(a / a.std((0, 2, 3), keepdim=True), b / b.std((0, 2, 3), keepdim=True), atol=2e-3)
    answers = heads(features)
    fooling = sum(math.log(1 + math.exp(-float(each))) for each in answers.detach().flatten()) / answers.numel()
    assert float(found["adversarial"].detach()) == pytest.approx(fooling, rel=1e-4)
    assert float(found["loss"].detach()) == pytest.approx(fooling + anchor, rel=1e-4)


def test_true_latents_look_like_noise_of_deviation_one(phase: Any) -> None:
    batch, dice = first_batch(phase, 16), Dice(0, 0, range(16))
    words = phase.arena.student.words(batch["prompt"])
    for each in phase.arena.look(batch["latents"], words, *phase.arena.moment(batch["latents"], dice)):
        assert float(each.mean().abs()) < 0.3
        assert 0.7 < float(each.std()) < 1.4


def test_the_discriminator_begins_alone(phase: Any) -> None:
    batch = first_batch(phase, 2)
    assert [*phase.players["student"](batch, Dice(0, 2, range(2)))] == ["loss"]
    assert phase.players["discriminator"](batch, Dice(0, 2, range(2)))["loss"].requires_grad


def test_each_player_trains_its_own_part_alone(phase: Any) -> None:
    stir(phase)
    batch = first_batch(phase, 2)
    for name, player in phase.players.items():
        player(batch, Dice(0, LATE, range(2)))["loss"].backward()
        for other, opponent in phase.players.items():
            touched = any(each.grad is not None for each in opponent.parameters())
            assert touched == (other == name), f"{other} in the turn of {name}"
        player.zero_grad()
    trained = sum(each.numel() for each in phase.players["student"].parameters())
    assert trained < sum(each.numel() for each in phase.arena.student.unet.parameters()) / 5


@pytest.mark.parametrize("name", ["student", "discriminator"])
def test_pieces_of_a_batch_give_the_gradient_of_the_whole(phase: Any, name: str) -> None:
    stir(phase)
    player, batch = phase.players[name], first_batch(phase, 4)
    assert same(
        gradients(player, batch, pieces=[4], step=LATE),
        gradients(player, batch, pieces=[1, 3], step=LATE),
        tolerance=1e-4,
    )


def test_a_discriminator_learns_and_is_fooled(phase: Any) -> None:
    """Each player against an opponent that stays what it is, on one batch."""
    batch = first_batch(phase, 8)
    for player, told in (
        (phase.players["discriminator"], "loss"),
        (phase.players["student"], "adversarial"),
    ):
        optimizer = torch.optim.Adam(player.parameters(), lr=5e-3)
        course = []
        for _ in range(15):
            found = player(batch, Dice(0, LATE, range(8)))
            course.append(float(found[told].detach()))
            found["loss"].backward()
            optimizer.step()
            optimizer.zero_grad()
        assert course[-1] < course[0] - 0.02, told


def test_what_is_exported_is_what_was_validated(run: Run, phase: Any, tmp_path: Path) -> None:
    before = phase.validate()
    assert phase.validate() == before
    Trainer(phase, tmp_path / "gan").run(exported=tmp_path / "out" / "model")
    told = read_journal(tmp_path / "gan", VALIDATION)
    assert told[0]["kernel_distance"] == pytest.approx(before["kernel_distance"], rel=1e-4)
    assert told[-1]["kernel_distance"] == pytest.approx(phase.validate()["kernel_distance"], rel=1e-4)
    assert told[-1]["kernel_distance"] != told[0]["kernel_distance"]
    assert phase.picture().shape == (3 * 64, 8 * 64, 3)
    start = Model.load(run.folder / "one-step" / "model")
    noise, words = torch.randn(2, 4, 8, 8), start.words(["a", "b"])
    painted = phase.arena.paint(noise, words)
    merged = Model.load(tmp_path / "out" / "model").unet
    assert torch.allclose(one_step_latents(start, merged, noise, words), painted, atol=2e-3)
    LoraSwitch(start.unet, {"gan": load_lora(tmp_path / "out" / "lora", start.unet)}).use("gan", 1.0)
    for name, value in start.unet.state_dict().items():
        assert torch.allclose(merged.state_dict()[name], value, atol=1e-6), name


def test_the_model_and_its_lora_load_where_people_paint(run: Run, phase: Any, tmp_path: Path) -> None:
    stir(phase)
    weights = {"lora": {name: value.detach() for name, value in phase.averaged["lora"].state_dict().items()}}
    phase.export(tmp_path / "model", weights)
    base = run.folder / "one-step" / "model"
    settings, maps = Settings(prompt="a b", seed=3, lora=""), torch.rand(1, 3, 64, 64)
    options: Any = {"backend": "eager", "device": "cpu", "size": (64, 64)}
    merged = SDXSPipeline.from_pretrained(tmp_path / "model", **options)(maps, [settings])
    styled = SDXSPipeline.from_pretrained(base, loras=[f"gan={tmp_path / 'lora'}"], **options)
    applied = styled(maps, [settings.replace({"lora": "gan"})])
    assert torch.allclose(merged, applied, atol=1e-4)
    assert float((merged - styled(maps, [settings])).abs().mean()) > 1e-3, "the LoRA does nothing"
    unet = PeftModel.from_pretrained(Model.load(base).unet, str(tmp_path / "lora")).merge_and_unload()
    assert torch.allclose(unet.conv_in.weight, Model.load(tmp_path / "model").unet.conv_in.weight)


def test_true_pictures_take_the_place_of_samples_where_asked(run: Run) -> None:
    settings = dataclasses.replace(PLAN, pictures=True)
    base, teacher = run.folder / "one-step" / "model", Model.load(run.teacher)
    samples = ensure_samples(run, teacher, device=HERE)
    phase = GanPhase(settings, base, teacher, *samples, open_data("shapes", (64, 64)))
    phase.to(HERE)
    batch, heads = first_batch(phase, 3), phase.players["discriminator"]
    assert batch["true_picture"].shape == (3, 3, 64, 64)
    found = heads(batch, Dice(0, LATE, range(3)))
    other = heads({**batch, "true_picture": batch["true_picture"].flip(0)}, Dice(0, LATE, range(3)))
    assert float((found["real"] - other["real"]).detach().abs()) > 1e-6
    assert torch.equal(found["fake"], other["fake"])
    assert phase.validate() != GanPhase(PLAN, base, teacher, *samples).validate()


def test_pictures_are_asked_for_where_the_data_have_none(run: Run) -> None:
    fields = {**vars(run.recipe), "gan_finetune": dataclasses.replace(PLAN, pictures=True)}
    with pytest.raises(TrainingError, match="the data have none"):
        list(gan_finetune.phases(dataclasses.replace(run, recipe=SimpleNamespace(**fields)), device=HERE))


def test_a_unet_without_such_layers_is_refused() -> None:
    blocks: Any = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2}
    plain = UNet2DConditionModel(block_out_channels=(8, 8), norm_num_groups=4, mid_block_type=None, **blocks)
    with pytest.raises(TrainingError, match="no layer for a LoRA"):
        TrainedLora(plain, 2)
