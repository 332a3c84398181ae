"""The stage ``one-step`` on a teacher and a student with random weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from torch import Tensor, nn

from pipelines.errors import TrainingError
from pipelines.training.dice import Dice
from pipelines.training.distance import descriptors, kernel_distance
from pipelines.training.features import encoder_features
from pipelines.training.losses.feature_matching import feature_matching
from pipelines.training.model import Model, predict
from pipelines.training.one_step_players import (
    Distillation,
    Distilling,
    FakePlayer,
    Shown,
    StudentPlayer,
    partly_fresh,
)
from pipelines.training.phase import Plan
from pipelines.training.run import Run, write_model
from pipelines.training.sampling import one_step_latents, sample
from pipelines.training.stages import one_step
from pipelines.training.stages.one_step import OneStepPhase, OneStepPlan
from tests.pipelines import tiny
from tests.pipelines.training import tiny_teacher

BATCH, SHAPE = 4, (4, 8, 8)
PROMPTS = ["a, b", "c", "d, e", "f"]


@pytest.fixture(scope="module")
def teacher_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_teacher.save(tmp_path_factory.mktemp("teacher"))


@pytest.fixture(scope="module")
def base(teacher_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("unet") / "model"
    parts = {"unet": tiny.unet(), "controlnet": tiny.controlnet()}
    write_model(teacher_dir, folder, {name: (part, part.state_dict()) for name, part in parts.items()})
    return folder


def triplets(teacher: Model, count: int, seed: int) -> list[dict[str, Any]]:
    noise = torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(seed))
    prompts = [PROMPTS[i % len(PROMPTS)] for i in range(count)]
    latents = sample(teacher, noise, prompts, steps=4)
    return [
        {"noise": n, "latents": x, "prompt": p, "picture": torch.zeros(3, 64, 64)}
        for n, x, p in zip(noise, latents, prompts, strict=True)
    ]


@pytest.fixture(scope="module")
def samples(teacher_dir: Path) -> list[dict[str, Any]]:
    return triplets(Model.load(teacher_dir), 24, 5)


def settings(**changes: Any) -> Distilling:
    return Distilling(**{"warmup": 0.5, **changes})


def phase(teacher_dir: Path, base: Path, samples: list[dict[str, Any]], **changes: Any) -> OneStepPhase:
    plan = Plan(steps=10, learning_rate=1e-3, batch=BATCH)
    held_out = samples[:8]
    return OneStepPhase(
        OneStepPlan(plan=plan, method=settings(**changes)), base, Model.load(teacher_dir), samples[8:], held_out
    )


def batch_of(samples: list[dict[str, Any]]) -> dict[str, Any]:
    chosen = samples[:BATCH]
    tensors = {name: torch.stack([each[name] for each in chosen]) for name in ("noise", "latents")}
    return {**tensors, "prompt": [each["prompt"] for each in chosen]}


def train(stage: OneStepPhase, steps: int) -> None:
    optimizers = {name: torch.optim.AdamW(p.parameters(), 1e-3) for name, p in stage.players.items()}
    for player in stage.players.values():
        player.requires_grad_(True)
    for step in range(steps):
        fetched = [stage.fetch(step * BATCH + place) for place in range(BATCH)]
        for turn, (name, player) in enumerate(stage.players.items()):
            loss = player(batch_of([dict(each) for each in fetched]), Dice(0, step, range(BATCH), turn=turn))["loss"]
            optimizers[name].zero_grad()
            loss.backward()
            optimizers[name].step()


def shared_of(teacher_dir: Path, base: Path, steps: int = 10, control: str = "", **changes: Any) -> Distillation:
    made = Distillation.make(settings(**changes), steps, Model.load(base), Model.load(teacher_dir), control)
    made.trained.requires_grad_(True)
    made.fake.unet.requires_grad_(True)
    return made


def gradients(player: nn.Module, batch: dict[str, Any], step: int, cuts: Sequence[range]) -> list[Tensor]:
    player.zero_grad()
    for places in cuts:
        part = {name: value[places.start : places.stop] for name, value in batch.items()}
        loss = player(part, Dice(3, step, places))["loss"]
        (loss * len(places) / BATCH).backward()
    return [p.grad.clone() for p in player.parameters() if p.grad is not None]


def test_the_schedule_warms_up_and_then_goes_from_end_to_end() -> None:
    plan = Distilling(warmup=0.25, alpha=(0.98, 0.5), matching=(4.0, 1.0))
    assert [plan.segments(step, 100) for step in (0, 24)] == [None, None]
    assert plan.segments(25, 100) == pytest.approx((0.98, 4.0))
    assert plan.segments(62, 100) == pytest.approx((0.74, 2.5))
    assert plan.segments(99, 100) == pytest.approx((0.5, 1.0))
    assert Distilling(warmup=1.0).segments(99, 100) is None
    assert Distilling(warmup=0.0).segments(0, 1) is not None


@pytest.mark.parametrize("step", [0, 7])
@pytest.mark.parametrize("kind", [StudentPlayer, FakePlayer])
def test_gradients_do_not_depend_on_how_the_batch_is_cut(
    kind: type[nn.Module], step: int, teacher_dir: Path, base: Path, samples: list[dict[str, Any]]
) -> None:
    shared = shared_of(teacher_dir, base, fresh=0.5, guidance=2.0, fake_draws=2, regression=0.1)
    player, batch = kind(shared), batch_of(samples)  # type: ignore[call-arg]
    whole = gradients(player, batch, step, [range(4)])
    assert any(gradient.any() for gradient in whole)
    pieces = gradients(player, batch, step, [range(1), range(1, 4)])
    for a, b in zip(whole, pieces, strict=True):
        # Float32: likeness divides by small variances, which makes much of the last digits.
        assert torch.allclose(a, b, rtol=0, atol=1e-5 + 3e-3 * float(a.abs().max()))


def test_the_warm_up_is_feature_matching_of_the_one_step_picture(
    teacher_dir: Path, base: Path, samples: list[dict[str, Any]]
) -> None:
    shared, batch = shared_of(teacher_dir, base, clean=0.05), batch_of(samples)
    found = StudentPlayer(shared)(batch, Dice(0, 0, range(BATCH)))
    again = Dice(0, 0, range(BATCH))
    again.uniform()
    noise, words = again.normal(*SHAPE), shared.teacher.words(batch["prompt"])
    painted = one_step_latents(shared.student, shared.student.unet, batch["noise"], words)
    t = torch.full((BATCH,), 50)
    ours, theirs = (
        encoder_features(shared.teacher.unet, shared.teacher.diffusion.add_noise(x, noise, t), t, words)
        for x in (painted, batch["latents"])
    )
    assert found["loss"].item() == pytest.approx(feature_matching(ours, theirs).mean().item(), rel=1e-4)
    assert "score" not in found


def test_afterwards_both_segments_count(teacher_dir: Path, base: Path, samples: list[dict[str, Any]]) -> None:
    shared = shared_of(teacher_dir, base, fresh=0.0, matching=(4.0, 1.0))
    found = StudentPlayer(shared)(batch_of(samples), Dice(0, 5, range(BATCH)))
    assert found["loss"].item() == pytest.approx(found["score"].item() + 4 * found["matching"].item(), rel=1e-5)
    # The fake score is the teacher still: only what is matched moves the student.
    assert found["score"].item() == pytest.approx(0, abs=1e-8)
    with torch.no_grad():
        for parameter in shared.fake.unet.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    assert StudentPlayer(shared)(batch_of(samples), Dice(0, 5, range(BATCH)))["score"].item() > 1e-4


def test_scores_are_asked_within_their_segment_and_features_in_the_other(
    teacher_dir: Path, base: Path, samples: list[dict[str, Any]]
) -> None:
    shared = shared_of(teacher_dir, base, earliest=0.1, alpha=(0.6, 0.6), noised_segment=True)
    asked: dict[str, list[int]] = {"teacher": [], "fake": []}
    for name, unet in (("teacher", shared.teacher.unet), ("fake", shared.fake.unet)):
        unet.register_forward_pre_hook(lambda _, given, name=name: asked[name].extend(given[1].tolist()))
    student = StudentPlayer(shared)
    for step in range(5, 8):
        student(batch_of(samples), Dice(0, step, range(BATCH)))
    scores, watched = sorted(asked["fake"]), [t for t in asked["teacher"] if t >= 600]
    assert scores[0] >= 100
    assert scores[-1] < 600
    assert sorted(t for t in asked["teacher"] if t < 600) == scores
    assert len(watched) == 2 * 3 * BATCH  # the student's pictures and the teacher's, at the same timesteps
    assert watched[:BATCH] == watched[BATCH : 2 * BATCH]


def test_samples_of_fresh_noise_are_left_out_of_what_needs_the_teachers_picture(
    teacher_dir: Path, base: Path, samples: list[dict[str, Any]]
) -> None:
    count = 400
    noise = torch.zeros(count, *SHAPE)
    mixed, weights = partly_fresh(noise, 0.25, Dice(0, 0, range(count)))
    fresh = mixed.flatten(1).any(1)
    assert fresh.float().mean().item() == pytest.approx(0.25, abs=0.06)
    assert torch.equal(weights == 0, fresh)
    assert weights.mean().item() == pytest.approx(1, abs=0.1)
    shared = shared_of(teacher_dir, base, fresh=1.0, regression=1.0)
    found = StudentPlayer(shared)(batch_of(samples), Dice(0, 9, range(BATCH)))
    assert found["matching"].item() == found["regression"].item() == 0
    assert found["loss"].isfinite()


def test_the_fake_score_learns_the_students_own_pictures(
    teacher_dir: Path, base: Path, samples: list[dict[str, Any]]
) -> None:
    shared = shared_of(teacher_dir, base, fake_draws=3)
    fake, batch = FakePlayer(shared), batch_of(samples)
    optimizer = torch.optim.AdamW(fake.parameters(), 2e-3)
    losses = []
    for _ in range(6):
        loss = fake(batch, Dice(0, 0, range(BATCH)))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    assert all(p.grad is None for p in shared.student.unet.parameters())


def test_a_player_registers_what_it_trains_and_nothing_else(teacher_dir: Path, base: Path) -> None:
    shared = shared_of(teacher_dir, base)
    for player, network in ((StudentPlayer(shared), shared.student.unet), (FakePlayer(shared), shared.fake.unet)):
        assert [id(p) for p in player.parameters()] == [id(p) for p in network.parameters()]
    assert shared.fake.unet is not shared.teacher.unet
    assert same(shared.fake.unet, shared.teacher.unet)


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


def test_a_style_is_in_the_frozen_score_alone(teacher_dir: Path, base: Path, tmp_path: Path) -> None:
    styled = Model.load(teacher_dir)
    torch.manual_seed(0)
    styled.unet.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=["to_q", "to_v"], init_lora_weights=False))
    state = get_peft_model_state_dict(styled.unet)
    StableDiffusionPipeline.save_lora_weights(tmp_path, unet_lora_layers=state)
    shared = shared_of(teacher_dir, base, style=str(tmp_path / "pytorch_lora_weights.safetensors"))
    original = Model.load(teacher_dir)
    assert not same(shared.teacher.unet, original.unet)
    assert same(shared.fake.unet, original.unet)
    assert same(shared.plain.unet, original.unet)
    assert same(shared.student.unet, Model.load(base).unet)
    noisy, t, words = torch.randn(1, *SHAPE), torch.tensor([300]), original.words(["a"])
    with torch.no_grad():
        expected = predict(styled.unet, noisy, t, words)
        assert torch.allclose(predict(shared.teacher.unet, noisy, t, words), expected, atol=1e-4)


def test_under_a_control_the_controlnet_trains_and_both_scores_see_the_map(
    teacher_dir: Path, base: Path, samples: list[dict[str, Any]]
) -> None:
    shared = shared_of(teacher_dir, base, control="canny")
    batch = {**batch_of(samples), "map": torch.rand(BATCH, 3, 64, 64, generator=torch.Generator().manual_seed(0))}
    student = StudentPlayer(shared)
    assert student.trained is shared.student.controlnets["canny"]
    student(batch, Dice(0, 9, range(BATCH)))["loss"].backward()
    assert any(p.grad is not None and p.grad.any() for p in student.parameters())
    assert all(p.grad is None for p in shared.student.unet.parameters())
    noisy, t, words = batch["noise"], torch.full((BATCH,), 300), shared.teacher.words(batch["prompt"])
    with torch.no_grad():
        for model in (shared.teacher, shared.fake):
            seen = shared.network(model, words, Shown(maps=batch["map"]))(noisy, t)
            expected = predict(
                model.unet, noisy, t, words, shared.teacher.control("canny", noisy, t, words, batch["map"])
            )
            assert torch.equal(seen, expected)
            assert not torch.allclose(seen, shared.network(model, words, None)(noisy, t))


def test_an_epsilon_teacher_serves_as_well(base: Path, samples: list[dict[str, Any]], tmp_path: Path) -> None:
    teacher = tiny_teacher.save(tmp_path, prediction="epsilon")
    shared = shared_of(teacher, base)
    for player in (StudentPlayer(shared), FakePlayer(shared)):
        loss = player(batch_of(samples), Dice(0, 9, range(BATCH)))["loss"]
        loss.backward()
        assert loss.isfinite()
        assert all(p.grad.isfinite().all() for p in player.parameters() if p.grad is not None)


def test_training_brings_the_student_nearer(teacher_dir: Path, base: Path, samples: list[dict[str, Any]]) -> None:
    stage = phase(teacher_dir, base, samples)
    before = stage.validate()
    assert before == stage.validate()
    train(stage, 6)
    assert stage.validate()["mean_square"] < before["mean_square"]
    assert stage.picture().shape == (2 * 64, 8 * 64, 3)


def test_what_it_leaves_is_the_model_with_the_new_unet(
    teacher_dir: Path, base: Path, samples: list[dict[str, Any]], tmp_path: Path
) -> None:
    stage = phase(teacher_dir, base, samples)
    weights = {name: torch.full_like(value, 0.25) for name, value in stage.averaged["unet"].state_dict().items()}
    stage.export(tmp_path / "model", {"unet": weights})
    left, was = Model.load(tmp_path / "model"), Model.load(base)
    assert all((value == 0.25).all() for value in left.unet.state_dict().values())
    assert same(left.vae, was.vae)


def test_the_stage_asks_for_the_one_before_it(tmp_path: Path) -> None:
    recipe: Any = SimpleNamespace(name="debug", teacher="")
    with pytest.raises(TrainingError, match="one-step needs the stage unet"):
        next(one_step.phases(Run(folder=tmp_path, recipe=recipe), device=torch.device("cpu")))


def test_a_weighting_that_is_not_known_is_refused(teacher_dir: Path, base: Path) -> None:
    with pytest.raises(TrainingError, match="'cubic' is not known; use one of normalised, uniform, variance"):
        shared_of(teacher_dir, base, weighting="cubic")


def test_the_kernel_distance_is_kids_with_deviations_as_units() -> None:
    random = torch.Generator().manual_seed(0)
    ours, theirs = (torch.randn(6, 3, generator=random, dtype=torch.float64) for _ in range(2))
    units = (
        (theirs - theirs.mean(0)) / theirs.std(0, correction=0),
        (ours - theirs.mean(0)) / theirs.std(0, correction=0),
    )

    def mean(a: Tensor, b: Tensor) -> float:
        return sum((float(x @ y) / 3 + 1) ** 3 for x in a for y in b) / (len(a) * len(b))

    expected = mean(units[1], units[1]) + mean(units[0], units[0]) - 2 * mean(*units)
    assert kernel_distance(ours, theirs) == pytest.approx(expected)
    assert kernel_distance(theirs, theirs) == pytest.approx(0, abs=1e-9)
    constant = torch.cat([theirs, torch.ones(6, 1)], 1)
    assert kernel_distance(constant, constant) == pytest.approx(0, abs=1e-9)


def test_blurred_pictures_are_farther_than_others_of_the_same_kind() -> None:
    """Where a mean square would prefer them."""
    random = torch.Generator().manual_seed(0)
    target, others = (torch.randn(32, 4, 8, 8, generator=random) for _ in range(2))
    blurred = target.mean(0, keepdim=True).expand_as(target)
    assert (blurred - target).square().mean() < (others - target).square().mean()
    found = [kernel_distance(descriptors([each]), descriptors([target])) for each in (others, blurred)]
    assert found[0] < 0.5 * found[1]
