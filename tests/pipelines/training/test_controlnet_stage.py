"""The small ControlNet's two phases: losses against plain ones, and what the written model does with a map."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipelines import SDXSPipeline, Settings
from pipelines.errors import MisfitError, TrainingError
from pipelines.presets import read_preset
from pipelines.training.control_phases import DistilPhase, OneStepPhase, Place, with_control
from pipelines.training.control_players import ControlDistiller, ControlledStudent, PlainScores
from pipelines.training.data import maps as map_drawers
from pipelines.training.dice import Dice
from pipelines.training.loop import Trainer
from pipelines.training.model import Model, predict
from pipelines.training.one_step_players import Distillation, Distilling, StudentPlayer
from pipelines.training.phase import Plan
from pipelines.training.removal import TO_SDXS_512, Removal, student_of
from pipelines.training.run import Run, write_model
from pipelines.training.stages.controlnet import ControlNetPlan, phases, started, with_controlnet
from pipelines.training.stages.unet import UNetPlan, together, without_extras
from tests.pipelines import families
from tests.pipelines.training import tiny_teacher
from tests.pipelines.training.fakes import SAMPLING, run_in, triplets

PLAN = Plan(steps=1, learning_rate=2e-3, batch=2, ema=0, warmup=1)
CPU = torch.device("cpu")
CANNY = Place(kind="canny", is_first=True)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_teacher.save(tmp_path_factory.mktemp("teacher"))


@pytest.fixture
def teacher(directory: Path) -> Model:
    return Model.load(directory)


@pytest.fixture(scope="module")
def small(directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model as the stages ``unet`` and ``one-step`` leave it."""
    folder = tmp_path_factory.mktemp("small") / "model"
    unet = student_of(Model.load(directory).unet, TO_SDXS_512)
    preset = without_extras(read_preset(directory))
    write_model(directory, folder, {"unet": (unet, unet.state_dict())}, preset=preset, without=["controlnet"])
    return folder


def settings(**changes: Any) -> ControlNetPlan:
    return ControlNetPlan(**{"distil": PLAN, "one_step": PLAN, "hint_channels": (4, 8, 8, 16), **changes})


def pair(small: Path, teacher: Model, **changes: Any) -> Model:
    model = Model.load(small)
    return with_controlnet(model, "canny", started("canny", settings(**changes), TO_SDXS_512, model, teacher))


def distiller(small: Path, teacher: Model, *, weight: float = 0.3, guidance: float = 1.0) -> ControlDistiller:
    student = pair(small, teacher)
    return ControlDistiller("canny", student, teacher, weight=weight, guidance=guidance, drop_prompts=0.0)


def with_maps(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    batch = together(samples, CPU)
    batch["map"] = (torch.rand(len(samples), 3, 64, 64, generator=torch.Generator().manual_seed(9)) > 0.9).float()
    return batch


def double(*models: Model) -> None:
    for model in models:
        for module in (model.unet, *model.text_encoders, *model.controlnets.values()):
            module.double()


@pytest.mark.parametrize(("guidance", "inverted"), [(1.0, False), (2.5, True)])
def test_the_first_phases_loss_is_the_papers_sum_written_out(
    small: Path, teacher: Model, guidance: float, inverted: bool
) -> None:
    teacher = dataclasses.replace(teacher, inverted=frozenset({"canny"} if inverted else ()))
    student = pair(small, teacher)
    double(teacher, student)
    player = ControlDistiller("canny", student, teacher, weight=0.3, guidance=guidance, drop_prompts=0.0)
    batch = {
        name: value.double() if isinstance(value, Tensor) else value for name, value in with_maps(triplets(2)).items()
    }
    found = player(batch, Dice(4, 1, range(2)))

    dice, total = Dice(4, 1, range(2)), 0.0
    t = dice.integers(0, 1000)
    dice.uniform()
    noisy = teacher.diffusion.add_noise(batch["latents"], dice.normal(4, 8, 8).double(), t)
    features: dict[Any, Tensor] = {}
    theirs_up, ours_up = teacher.unet.up_blocks[1:], student.unet.up_blocks
    for block in [*theirs_up, *ours_up]:
        block.register_forward_hook(lambda block, _, output: features.update({block: output.detach()}))

    def answer(model: Model, row: slice, prompt: str, drawn: Tensor) -> Tensor:
        words = teacher.words([prompt])
        given = noisy[row], t[row], words.tokens
        down, middle = model.controlnets["canny"](*given, drawn[row], return_dict=False)
        return predict(model.unet, noisy[row], t[row], words, (down, middle)).detach()

    for place in range(2):
        row, prompt = slice(place, place + 1), batch["prompt"][place]
        shown = 1 - batch["map"] if inverted else batch["map"]
        nothing = answer(teacher, row, "", shown)
        theirs = answer(teacher, row, prompt, shown)
        ours = answer(student, row, prompt, batch["map"])
        total += float(((ours - (1 - guidance) * nothing - guidance * theirs) ** 2).mean())
        for own, other in zip(ours_up, theirs_up, strict=True):
            total += 0.3 * float(((features[own] - features[other]) ** 2).mean() / (features[other] ** 2).mean())
    assert float(found["loss"].detach()) == pytest.approx(total / 2, rel=1e-6)


def test_without_a_teachers_controlnet_it_is_ordinary_control_training(small: Path, teacher: Model) -> None:
    teacher = dataclasses.replace(teacher, controlnets={})
    student = pair(small, teacher, zero_std=0.1)
    player = ControlDistiller("canny", student, teacher, weight=0.3, guidance=3.0, drop_prompts=0.0)
    batch = with_maps(triplets(3))
    found = player(batch, Dice(4, 1, range(3)))
    dice = Dice(4, 1, range(3))
    t, _, noise = dice.integers(0, 1000), dice.uniform(), dice.normal(4, 8, 8)
    noisy, words = teacher.diffusion.add_noise(batch["latents"], noise, t), teacher.words(batch["prompt"])
    down, middle = student.controlnets["canny"](noisy, t, words.tokens, batch["map"], return_dict=False)
    answer = predict(student.unet, noisy, t, words, (down, middle))
    wanted = teacher.diffusion.target(batch["latents"], noise, t)
    assert float(found["loss"].detach()) == pytest.approx(float(((answer - wanted) ** 2).mean()), rel=1e-5)
    assert float(found["features"].detach()) == 0


def gradients(player: Any, pieces: Sequence[range]) -> list[Tensor]:
    player.zero_grad()
    batch = with_maps(triplets(4))
    for places in pieces:
        part = {name: value[places.start : places.stop] for name, value in batch.items()}
        (player(part, Dice(0, 3, places))["loss"] * len(places) / 4).backward()
    return [parameter.grad.clone() for parameter in player.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("phase", ["distil", "one-step"])
def test_gradients_do_not_depend_on_how_the_batch_is_cut_and_go_to_the_controlnet_alone(
    small: Path, teacher: Model, phase: str
) -> None:
    player: Any = distiller(small, teacher)
    if phase == "one-step":
        method = Distilling(fresh=0.0, warmup=0.0)
        shared = Distillation.make(method, 8, pair(small, teacher), teacher, "canny")
        player = ControlledStudent(shared, replaced=0.5)
        control = shared.student.controlnets["canny"].requires_grad_(True)
    else:
        control = player.controlnet
    assert {id(each) for each in player.parameters()} == {id(each) for each in control.parameters()}
    whole, cut = gradients(player, [range(4)]), gradients(player, [range(1), range(1, 4)])
    assert len(whole) == len(cut) > 0
    for one, other in zip(whole, cut, strict=True):
        torch.testing.assert_close(one, other, rtol=2e-3, atol=1e-5)
    assert any(each.abs().sum() > 0 for each in whole)


def test_replaced_noise_is_fresh_while_map_and_target_stay(small: Path, teacher: Model) -> None:
    shared = Distillation.make(Distilling(fresh=0.0, warmup=1.0), 8, pair(small, teacher), teacher, "canny")
    seen: list[dict[str, Any]] = []
    player = ControlledStudent(shared, replaced=0.5)
    player.player.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    batch, replaced = with_maps(triplets(8)), 0
    for step in range(8):
        player(batch, Dice(0, step, range(8)))
        now = seen[-1]
        assert now["map"] is batch["map"]
        assert now["latents"] is batch["latents"]
        replaced += sum(not torch.equal(a, b) for a, b in zip(now["noise"], batch["noise"], strict=True))
    assert 20 < replaced < 44
    ControlledStudent(shared, replaced=0.0)(batch, Dice(0, 0, range(8)))
    kept = ControlledStudent(shared, replaced=0.0)
    kept.player.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    kept(batch, Dice(0, 0, range(8)))
    assert torch.equal(seen[-1]["noise"], batch["noise"])


def test_the_scores_of_a_teacher_without_a_controlnet_see_the_prompt_alone(small: Path, teacher: Model) -> None:
    teacher = dataclasses.replace(teacher, controlnets={})
    student = pair(small, teacher, zero_std=0.1)
    shared = PlainScores.make(Distilling(fresh=0.0, warmup=0.0), 8, student, teacher, "canny")
    batch = with_maps(triplets(2))
    found = StudentPlayer(shared)(batch, Dice(0, 0, range(2)))
    assert found["score"].isfinite()
    noisy, t, words = torch.randn(2, 4, 8, 8), torch.tensor([5, 700]), teacher.words(["a", "b"])
    with torch.no_grad():
        answer = shared.network(teacher, words, batch["map"])(noisy, t)
    assert torch.equal(answer, predict(teacher.unet, noisy, t, words))


def train(phase: Any, steps: int, rate: float = 2e-3) -> None:
    """As the loop does, plainly."""
    players = {name: player.requires_grad_(True) for name, player in phase.players.items()}
    optimizers = {name: torch.optim.AdamW(player.parameters(), rate) for name, player in players.items()}
    for step in range(steps):
        batch = together([phase.fetch(4 * step + place) for place in range(4)], CPU)
        for turn, (name, player) in enumerate(players.items()):
            for other, each in players.items():
                each.requires_grad_(other == name)
            player(batch, Dice(0, step, range(4), turn=turn))["loss"].backward()
            optimizers[name].step()
            optimizers[name].zero_grad()


def test_the_pair_comes_nearer_to_the_teachers(small: Path, teacher: Model) -> None:
    torch.manual_seed(0)
    student = pair(small, teacher)
    player = ControlDistiller("canny", student, teacher, weight=0.1, guidance=1.0, drop_prompts=0.1)
    phase = DistilPhase(
        PLAN, CANNY, student, teacher, player, small, triplets(8), triplets(4, 100), sampling=SAMPLING, guidance=2.0
    )
    unet = {name: value.clone() for name, value in student.unet.state_dict().items()}
    before = phase.validate()
    train(phase, 14, 4e-3)
    after = phase.validate()
    assert next(iter(after)) == "output_mse"
    assert after["output_mse"] < 0.8 * before["output_mse"]
    assert phase.validate() == after
    torch.testing.assert_close(student.unet.state_dict(), unet, rtol=0, atol=0)
    assert phase.picture().shape == (3 * 64, 4 * 64, 3)


def test_one_step_training_comes_nearer_to_the_targets(small: Path, teacher: Model) -> None:
    torch.manual_seed(0)
    method = Distilling(fresh=0.0, warmup=1.0, regression=1.0)
    shared = Distillation.make(method, 40, pair(small, teacher), teacher, "canny")
    phase = OneStepPhase(PLAN, CANNY, shared, small, triplets(4), triplets(4), replaced=0.0)
    before = phase.validate()
    assert list(before) == ["control_error", "mean_square"]
    train(phase, 8, 4e-3)
    assert phase.validate()["mean_square"] < 0.9 * before["mean_square"]
    assert 0 <= before["control_error"] < 2
    assert phase.picture().shape == (4 * 64, 4 * 64, 3)


def test_maps_are_drawn_from_the_samples_with_each_positions_own_chance(
    small: Path, teacher: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = Distillation.make(Distilling(), 8, pair(small, teacher), teacher, "canny")
    phase = OneStepPhase(PLAN, CANNY, shared, small, triplets(4), triplets(2), replaced=0.5)
    one, again = phase.fetch(3), phase.fetch(3)
    assert torch.equal(one["map"], again["map"])
    assert one["map"].shape == (3, 64, 64)
    assert set(one["map"].unique().tolist()) == {0.0, 1.0}
    drawn: list[float] = []
    monkeypatch.setattr(map_drawers, "_DRAWERS", dict(map_drawers._DRAWERS))
    map_drawers.add_map("canny", lambda picture, rng: drawn.append(rng.random()) or picture[..., 0])
    for position in (3, 3, 7, 11):  # 3, 7 and 11 may be the same sample in three epochs
        phase.fetch(position)
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) == 3


def prepared(folder: Path, directory: Path, small: Path, **changes: Any) -> Run:
    run = run_in(folder, directory, unet=UNetPlan(plan=PLAN), controlnet=settings(**changes))
    for stage in ("unet", "one-step"):
        write_model(small, folder / stage / "model", {})
    return run


def walked(run: Run) -> list[str]:
    names = []
    for phase in phases(run, device=CPU):
        names.append(phase.name)
        Trainer(phase, run.folder / phase.name).run(exported=run.folder / phase.name / "model")
    return names


def test_the_stage_trains_a_controlnet_for_each_kind_and_the_written_model_paints_along_the_map(
    directory: Path, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The detector of sketches takes seconds to import; these lines are as black on white as its own.
    monkeypatch.setattr(map_drawers, "_DRAWERS", dict(map_drawers._DRAWERS))
    map_drawers.add_map("sketch", lambda picture, rng: 255 - map_drawers.webcam_edges(picture, rng))
    run = prepared(tmp_path, directory, small, kinds=("canny", "sketch"))
    names = walked(run)
    assert names == [
        "controlnet/distil",
        "controlnet/one-step",
        "controlnet/distil-sketch",
        "controlnet/one-step-sketch",
    ]
    preset = read_preset(tmp_path / names[-1] / "model")
    said = [(control.kind, control.folder, control.polarity) for control in preset.controls]
    assert said == [("canny", "controlnet", "white on black"), ("sketch", "controlnet_sketch", "black on white")]
    assert preset.defaults.control == "canny"
    written = Model.load(tmp_path / names[-1] / "model")
    torch.testing.assert_close(written.unet.state_dict(), Model.load(small).unet.state_dict())
    ended = written.controlnets["canny"].state_dict()
    began = student_of(Model.load(directory).controlnets["canny"], TO_SDXS_512).state_dict()
    assert any(not torch.equal(ended[name], began[name]) for name in began)
    pipeline = SDXSPipeline.from_pretrained(
        tmp_path / names[-1] / "model", backend="eager", device="cpu", size=(64, 64)
    )
    lines = torch.zeros(1, 3, 64, 64)
    lines[..., 20:22, :] = 1
    with_lines, without = (pipeline(drawn, [Settings(prompt="a b")]) for drawn in (lines, 0 * lines))
    assert with_lines.isfinite().all()
    assert not torch.allclose(with_lines, without)
    assert pipeline(1 - lines, [Settings(prompt="a b", control="sketch")]).isfinite().all()


def test_the_datas_own_pictures_can_be_learned_from(
    directory: Path, small: Path, teacher: Model, tmp_path: Path
) -> None:
    run = prepared(tmp_path, directory, small, pictures=True)
    distil = next(phases(run, device=CPU))
    assert not (tmp_path / "samples").exists()
    batch = together([distil.fetch(0), distil.fetch(1)], CPU)
    assert set(batch) == {"prompt", "map", "noise", "picture"}
    assert not torch.equal(batch["noise"][0], batch["noise"][1])
    shared = Distillation.make(Distilling(fresh=0.0), 8, pair(small, teacher), teacher, "canny")
    encoded = {**batch, "latents": teacher.encode(batch["picture"])}
    one_step = ControlledStudent(shared, replaced=0.5)
    for player in (*distil.players.values(), one_step):
        losses = [player(given, Dice(0, 0, range(2)))["loss"] for given in (batch, encoded)]
        assert losses[0].isfinite()
        torch.testing.assert_close(losses[0], losses[1])
    assert distil.validate()["output_mse"] > 0
    phase = OneStepPhase(PLAN, CANNY, shared, small, [distil.fetch(0)], [distil.fetch(1)] * 2, replaced=0.5)
    assert phase.validate()["mean_square"] > 0
    assert phase.picture().shape == (4 * 64, 2 * 64, 3)


def test_a_kind_that_the_live_loop_does_not_draw_stays_unsaid(small: Path) -> None:
    preset = read_preset(small)
    assert with_control(preset, Place(kind="normals", is_first=True)) == preset


def test_earlier_stages_are_asked_for_by_name(directory: Path, tmp_path: Path) -> None:
    run = run_in(tmp_path, directory, unet=UNetPlan(plan=PLAN), controlnet=settings())
    with pytest.raises(TrainingError, match="needs the stage unet"):
        next(phases(run, device=CPU))


def test_a_controlnet_that_does_not_fit_the_student_is_refused(small: Path, teacher: Model) -> None:
    whole = Removal(drop_last_stage=False, drop_highest_transformers=False, layers_per_block=2)
    with pytest.raises(MisfitError, match="for canny"):
        started("canny", settings(), whole, Model.load(small), teacher)


def test_it_can_start_without_the_teachers_weights(small: Path, teacher: Model) -> None:
    control = started("canny", settings(from_teacher=False), TO_SDXS_512, Model.load(small), teacher)
    assert not any(layer.weight.any() for layer in control.controlnet_down_blocks)
    again = started("canny", settings(from_teacher=False), TO_SDXS_512, Model.load(small), teacher)
    torch.testing.assert_close(control.state_dict(), again.state_dict(), rtol=0, atol=0)


def test_an_sdxl_pair(tmp_path: Path) -> None:
    _, directory = families.sdxl(tmp_path)
    teacher = Model.load(directory)
    removal = Removal(drop_last_stage=False, drop_mid_block=False, transformer_layers_per_block=(1, 1))
    model = dataclasses.replace(teacher, unet=student_of(teacher.unet, removal).requires_grad_(False))
    student = with_controlnet(model, "canny", started("canny", settings(), removal, model, teacher))
    player = ControlDistiller("canny", student, teacher, weight=0.1, guidance=2.0, drop_prompts=0.5)
    player(with_maps(triplets(2)), Dice(0, 0, range(2)))["loss"].backward()
    assert np.isfinite(float(sum(each.grad.abs().sum() for each in player.parameters())))
