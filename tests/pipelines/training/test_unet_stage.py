"""Block-removal distillation: its loss against a plain one, and what a few steps of it leave."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipelines import SDXSPipeline, Settings
from pipelines.errors import TrainingError
from pipelines.training.dice import Dice
from pipelines.training.model import Model, Words, predict
from pipelines.training.phase import Plan
from pipelines.training.removal import TO_SDXS_512, Removal, student_of
from pipelines.training.run import write_model
from pipelines.training.stages import unet
from pipelines.training.stages.unet import Distiller, UNetPhase, UNetPlan, together
from tests.pipelines import families
from tests.pipelines.training import tiny_teacher
from tests.pipelines.training.fakes import SAMPLING, run_in, triplets

PLAN = Plan(steps=24, learning_rate=4e-3, batch=4, ema=0)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_teacher.save(tmp_path_factory.mktemp("teacher"))


@pytest.fixture
def teacher(directory: Path) -> Model:
    return Model.load(directory)


def distiller(teacher: Model, removal: Removal = TO_SDXS_512, **settings: Any) -> Distiller:
    torch.manual_seed(1)
    return Distiller(student_of(teacher.unet, removal), teacher, UNetPlan(plan=PLAN, **settings))


def phase(teacher: Model, base: Path, **settings: Any) -> UNetPhase:
    student = student_of(teacher.unet, TO_SDXS_512)
    plan = UNetPlan(plan=PLAN, **settings)
    return UNetPhase(plan, teacher, student, base, triplets(8), triplets(4, 100), sampling=SAMPLING)


def layer_outputs(net: nn.Module, layers: Sequence[nn.Module], *given: Any) -> tuple[Tensor, list[Tensor]]:
    """A forward pass, and what those layers gave in it."""
    found: dict[nn.Module, Tensor] = {}

    def keep(layer: nn.Module, _: Any, output: Any) -> None:
        found[layer] = output[0] if isinstance(output, tuple) else output

    handles = [layer.register_forward_hook(keep) for layer in layers]
    output = predict(net, *given)
    for handle in handles:
        handle.remove()
    return output, [found[layer] for layer in layers]


def last_layer(block: Any) -> nn.Module:
    layer: nn.Module = block.attentions[-1] if hasattr(block, "attentions") else block.resnets[-1]
    return layer


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_the_loss_is_the_papers_sum_written_out(teacher: Model, guidance: float) -> None:
    player = distiller(teacher, features=0.3, guidance=guidance, drop_prompts=0.0).double()
    teacher.unet.double()
    for encoder in teacher.text_encoders:
        encoder.double()
    batch = together(triplets(3), torch.device("cpu"))
    batch["latents"] = batch["latents"].double()
    found = player(batch, Dice(5, 7, range(3)))

    dice, total = Dice(5, 7, range(3)), 0.0
    t, noise = dice.integers(0, 1000), None
    dice.uniform()
    noise = dice.normal(4, 8, 8).double()
    bars = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2, 0)
    down, up = teacher.unet.down_blocks, teacher.unet.up_blocks
    small = player.student
    for row in range(3):
        bar = bars[t[row]]
        noisy = bar.sqrt() * batch["latents"][row : row + 1] + (1 - bar).sqrt() * noise[row : row + 1]
        words = teacher.words([batch["prompt"][row]])
        theirs, features = layer_outputs(
            teacher.unet, [*map(last_layer, down[:3]), *up[1:]], noisy, t[row : row + 1], words
        )
        if guidance != 1:
            nothing = predict(teacher.unet, noisy, t[row : row + 1], teacher.words([""]))
            theirs = (1 - guidance) * nothing + guidance * theirs
        ours, own = layer_outputs(
            small, [*map(last_layer, small.down_blocks), *small.up_blocks], noisy, t[row : row + 1], words
        )
        total += float(((ours - theirs).detach() ** 2).mean())
        for a, b in zip(own, features, strict=True):
            total += 0.3 * float(((a - b).detach() ** 2).mean() / (b**2).mean())
    assert float(found["loss"]) == pytest.approx(total / 3, rel=1e-6)
    assert float(found["loss"]) == pytest.approx(float(found["output"] + 0.3 * found["features"]))


def gradients(player: Distiller, pieces: Sequence[range]) -> list[Tensor]:
    player.zero_grad()
    samples = triplets(4)
    for places in pieces:
        batch = together([samples[place] for place in places], torch.device("cpu"))
        loss = player(batch, Dice(0, 3, places))["loss"]
        (loss * len(places) / 4).backward()
    return [parameter.grad.clone() for parameter in player.parameters() if parameter.grad is not None]


def test_gradients_do_not_depend_on_how_the_batch_is_cut(teacher: Model) -> None:
    player = distiller(teacher, drop_prompts=0.5)
    whole, cut = gradients(player, [range(4)]), gradients(player, [range(1), range(1, 4)])
    assert len(whole) == len(cut) == len(list(player.parameters()))
    for one, other in zip(whole, cut, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_only_the_student_trains_and_checkpointed_activations_change_nothing(teacher: Model) -> None:
    player = distiller(teacher)
    assert {id(each) for each in player.parameters()} == {id(each) for each in player.student.parameters()}
    whole = gradients(player, [range(4)])
    player.student.enable_gradient_checkpointing()
    for one, other in zip(whole, gradients(player.train(), [range(4)]), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)
    assert all(parameter.grad is None for parameter in teacher.unet.parameters())


def test_prompts_are_left_out_as_often_as_asked(teacher: Model) -> None:
    seen: list[Sequence[str]] = []
    encode = teacher.words
    player = distiller(teacher, drop_prompts=1.0)
    teacher.words = lambda prompts: seen.append(prompts) or encode(prompts)  # type: ignore[method-assign, func-returns-value]
    player(together(triplets(2), torch.device("cpu")), Dice(0, 0, range(2)))
    assert seen
    assert all(prompts == ["", ""] for prompts in seen)


def test_the_student_comes_nearer_to_its_teacher(teacher: Model, directory: Path) -> None:
    torch.manual_seed(0)
    trained = phase(teacher, directory)
    (player,) = trained.players.values()
    optimizer = torch.optim.AdamW(player.parameters(), lr=PLAN.learning_rate)
    before = trained.validate()
    for step in range(PLAN.steps):
        samples = [trained.fetch(step * PLAN.batch + place) for place in range(PLAN.batch)]
        loss = player(together(samples, torch.device("cpu")), Dice(0, step, range(PLAN.batch)))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    after = trained.validate()
    assert list(after) == ["output_mse", "features"]
    assert after["output_mse"] < 0.5 * before["output_mse"]
    assert after["features"] < before["features"]
    assert trained.validate() == after, "it is the same every time"


def test_the_validation_number_is_over_all_of_what_is_held_out(
    teacher: Model, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = []
    for at_once in (8, 3, 1):
        monkeypatch.setattr(unet, "LOOKED_AT", at_once)
        numbers.append(phase(teacher, directory).validate()["output_mse"])
    assert numbers == pytest.approx([numbers[0]] * 3, rel=1e-4)


def test_the_written_model_paints_in_one_step_and_has_left_the_teachers_controlnet_behind(
    teacher: Model, directory: Path, tmp_path: Path
) -> None:
    trained = phase(teacher, directory)
    with torch.no_grad():
        trained.averaged["unet"].get_submodule("conv_out").weight.mul_(1.5)
    state = {name: value.clone() for name, value in trained.averaged["unet"].state_dict().items()}
    trained.export(tmp_path / "model", {"unet": state})
    pipeline = SDXSPipeline.from_pretrained(tmp_path / "model", backend="eager", device="cpu", size=(64, 64))
    painted = pipeline(torch.zeros(1, 0, 3, 64, 64), [Settings(prompt="a b", control="none")])
    assert painted.shape == (1, 3, 64, 64)
    assert painted.isfinite().all()
    written = Model.load(tmp_path / "model")
    torch.testing.assert_close(written.unet.state_dict(), state)
    assert not written.controlnets
    assert not (tmp_path / "model" / "controlnet").exists()
    assert "controlnet" not in json.loads((tmp_path / "model" / "model_index.json").read_text())


def test_the_grid_shows_what_teacher_and_student_make_of_the_same_noise(teacher: Model, directory: Path) -> None:
    grid = phase(teacher, directory).picture()
    assert grid.shape == (2 * 64, 4 * 64, 3)
    assert grid.dtype == np.uint8
    assert grid[:64].std() > 0
    assert not np.array_equal(grid[:64], grid[64:])


@pytest.mark.parametrize("pictures", [False, True])
def test_the_stage_finds_its_data_and_what_the_decoder_left(directory: Path, tmp_path: Path, pictures: bool) -> None:
    run = run_in(tmp_path, directory, unet=UNetPlan(plan=PLAN, pictures=pictures))
    with pytest.raises(TrainingError, match="decoder"):
        next(unet.phases(run, device=torch.device("cpu")))
    write_model(directory, tmp_path / "decoder" / "model", {})
    (found,) = unet.phases(run, device=torch.device("cpu"))
    assert found.name == "unet"
    batch = together([found.fetch(0), found.fetch(1)], torch.device("cpu"))
    assert set(batch) == {"picture" if pictures else "latents", "prompt"}
    (player,) = found.players.values()
    assert player(batch, Dice(0, 0, range(2)))["loss"].isfinite()
    assert found.validate()["output_mse"] > 0
    assert found.picture().shape[2] == 3


def test_prompts_alone_have_no_pictures_to_start_from(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a cat\na dog\n")
    write_model(directory, tmp_path / "decoder" / "model", {})
    prompts = str(tmp_path / "prompts.txt")
    run = run_in(tmp_path, directory, data=prompts, unet=UNetPlan(plan=PLAN, pictures=True))
    with pytest.raises(TrainingError, match="prompts alone"):
        next(unet.phases(run, device=torch.device("cpu")))


def test_an_sdxl_teacher(tmp_path: Path) -> None:
    _, directory = families.sdxl(tmp_path)
    teacher = Model.load(directory)
    removal = Removal(drop_last_stage=False, drop_mid_block=False, transformer_layers_per_block=(1, 1))
    player = distiller(teacher, removal, guidance=2.0)
    found = player(together(triplets(2), torch.device("cpu")), Dice(0, 0, range(2)))
    found["loss"].backward()
    assert found["loss"].isfinite()
    assert len(player._blocks) == 5


def test_a_teacher_whose_time_embedding_sees_the_text(teacher: Model) -> None:
    torch.manual_seed(0)
    config: Mapping[str, Any] = {
        **tiny_teacher.BLOCKS,
        "up_block_types": tiny_teacher.UP,
        "addition_embed_type": "text",
        "addition_embed_type_num_heads": 4,
    }
    seeing = dataclasses.replace(teacher, unet=type(teacher.unet)(**config).requires_grad_(False))
    player = distiller(seeing)
    noisy, t = torch.randn(1, 4, 8, 8), torch.tensor([500])
    one, other = (predict(player.student, noisy, t, Words(tokens=torch.randn(1, 12, 32))) for _ in range(2))
    assert not torch.allclose(one, other)
    player(together(triplets(2), torch.device("cpu")), Dice(0, 0, range(2)))["loss"].backward()
    assert player.student.add_embedding.proj.weight.grad.abs().sum() > 0
