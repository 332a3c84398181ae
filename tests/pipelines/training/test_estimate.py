"""Dry runs: the rule for memory against what a real, tiny training step takes, and sizes that are known."""

from __future__ import annotations

import dataclasses
import io
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from pipelines import layout
from pipelines.errors import TrainingError
from pipelines.training.cost import cost_of
from pipelines.training.dry_run import print_stage, settings_of
from pipelines.training.estimate import estimate, estimate_encoded, estimate_samples, makers, memory_of
from pipelines.training.networks import Networks, teacher_layout
from pipelines.training.passes import Pass, Work
from pipelines.training.phase import Plan
from pipelines.training.recipes import RECIPES, find_recipe
from pipelines.training.run import STAGES
from pipelines.training.work import work_of
from tests.pipelines.training import tiny_teacher
from tests.pipelines.training.tiny_together import tiny_together

pytestmark = pytest.mark.filterwarnings("ignore")  # third-party deprecations
BATCH = 3


class Live(TorchDispatchMode):
    """Counts the bytes of all storages that operations have made and nobody has let go of yet, and their peak."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        for each in tree_flatten(output)[0]:
            if isinstance(each, Tensor):
                self._meet(each.untyped_storage())
        return output

    def _meet(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return
        self._known.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._leave, key, size)

    def _leave(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


def unet(device: str = "cpu") -> Any:
    with torch.device(device):
        return tiny_teacher.unet().train()


def inputs(batch: int, device: str) -> tuple[Tensor, Tensor, Tensor]:
    return (
        torch.zeros(batch, 4, 32, 32, device=device),
        torch.zeros(batch, device=device),
        torch.zeros(batch, 12, 32, device=device),
    )


def tiny_work(plan: Plan) -> Work:
    one = [Pass(network="net", way="train")]
    return Work(name="tiny", plan=plan, turns=[one], trained=["net"], averaged=["net"], frozen={"other": 2})


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_rule_for_memory_is_what_a_step_takes(checkpointing: bool) -> None:
    plan = Plan(steps=1, learning_rate=1e-3, batch=BATCH, gradient_checkpointing=checkpointing)
    cost = cost_of(unet("meta"), lambda net, wanted: net(*inputs(1, "meta")), ["train"])
    told = memory_of(tiny_work(plan), {"net": cost, "other": cost}, half=False)

    network = unet()
    if checkpointing:
        network.enable_gradient_checkpointing()
    optimizer = torch.optim.AdamW(network.parameters())
    given = inputs(BATCH, "cpu")
    with Live() as live:
        loss = network(*given)[0].square().mean()
        held = live.now
        loss.backward()
    optimizer.step()

    weights = sum(each.numel() * each.element_size() for each in network.parameters())
    gradients = sum(each.grad.numel() * each.grad.element_size() for each in network.parameters())
    states = [each for state in optimizer.state.values() for each in state.values() if each.ndim]
    assert told.weights == 3 * weights  # its own, and twice another of its size
    assert told.gradients == gradients
    assert told.adamw == sum(each.numel() * each.element_size() for each in states)
    assert told.average == weights
    # Activations: what is alive after the forward pass is within a tenth (2 % when this was written). With
    # checkpointing the worst moment is in the backward pass, where the gradients of activations come on top: 1.5 times.
    peak = live.peak - gradients
    assert checkpointing or 0.9 < held / told.activations < 1.1
    assert 0.8 < peak / told.activations < 2
    assert told.total == told.weights + told.gradients + told.adamw + told.average + told.activations


def test_checkpointing_half_precision_and_pieces_take_less() -> None:
    cost = cost_of(unet("meta"), lambda net, wanted: net(*inputs(1, "meta")), ["train"])
    costs = {"net": cost, "other": cost}
    plan = Plan(steps=1, learning_rate=1e-3, batch=8)
    whole = memory_of(tiny_work(plan), costs, half=False).activations
    assert memory_of(tiny_work(plan), costs, half=True).activations == whole // 2
    assert memory_of(tiny_work(plan), costs, half=False, processes=4).activations == whole // 4
    pieces = dataclasses.replace(plan, micro_batch=2)
    assert memory_of(tiny_work(pieces), costs, half=False).activations == whole // 4
    again = dataclasses.replace(plan, gradient_checkpointing=True)
    assert memory_of(tiny_work(again), costs, half=False).activations < whole / 2
    without = dataclasses.replace(plan, ema=0)
    assert memory_of(tiny_work(without), costs, half=False).average == 0


def test_what_is_kept_is_what_autograd_keeps() -> None:
    """By hand for one layer, and without the matrix for attention."""
    with torch.device("meta"):
        layer = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.SiLU())
    shape = (5, 8)
    cost = cost_of(
        layer, lambda net, wanted: net(torch.zeros(shape, device="meta", requires_grad=wanted)), ["train", "through"]
    )
    assert cost.flops == 2 * 5 * 8 * 16
    assert cost.kept == 4 * (5 * 8 + 5 * 16)  # the linear layer's input, and SiLU's
    assert cost.through == 4 * 5 * 16
    assert cost.parameters == 8 * 16 + 16
    queries = torch.zeros(1, 2, 256, 32, device="meta", requires_grad=True)
    attended = cost_of(
        torch.nn.Identity(),
        lambda _, wanted: torch.nn.functional.scaled_dot_product_attention(*[queries] * 3),
        ["through"],
    )
    assert attended.kept == 0
    assert 4 * queries.numel() <= attended.through < 4 * 2 * 256 * 256


@pytest.mark.parametrize(
    ("name", "unet", "student", "control"),
    [
        ("sd15-512", 859_520_964, 315_746_244, 186_551_440),
        ("sd21-512", 865_910_724, 318_695_364, 188_189_840),
        ("sdxl-1024", 2_567_463_684, 744_114_244, 349_017_360),
    ],
)
def test_the_recipes_networks_are_those_of_the_paper(name: str, unet: int, student: int, control: int) -> None:
    networks = Networks(find_recipe(name))
    assert layout.parameters(networks.teacher.unet) == unet
    assert layout.parameters(networks.student) == student
    assert layout.parameters(networks._control("student ControlNet")) == control
    recipe = RECIPES[name]
    assert 1024 <= recipe.unet.plan.batch <= 2048
    assert recipe.teacher_controlnets[0].startswith("canny=")


def test_flops_are_those_that_were_counted_before_and_time_follows_from_them() -> None:
    """369 GFLOP a pass of SDXS-512's U-Net at 512². In one-step training, by hand: what the stage's players do."""
    assert Networks(find_recipe("sd15-512")).cost("student U-Net").flops == pytest.approx(369.3e9, rel=1e-3)
    recipe = find_recipe("debug")
    method = dataclasses.replace(recipe.one_step.method, guidance=1.0, fake_draws=1)
    recipe = dataclasses.replace(recipe, one_step=dataclasses.replace(recipe.one_step, method=method))
    networks = Networks(recipe)
    student, teacher, encoder, text = (
        networks.cost(name).flops
        for name in ("student U-Net", "teacher U-Net", "teacher U-Net encoder", "teacher text")
    )
    after = 1 - method.warmup
    students_turn = text + 3 * student + (1 + 2) * encoder + after * (teacher + teacher)
    fakes_turn = text + student + 3 * teacher
    (found,) = estimate(recipe, "one-step")
    assert found.flops / found.samples == pytest.approx(students_turn + fakes_turn)
    assert found.samples == recipe.one_step.plan.steps * recipe.one_step.plan.batch
    assert found.seconds == pytest.approx(found.flops / (0.35 * 989e12))


def test_every_stage_of_a_recipe_has_its_work_and_every_plan_its_numbers() -> None:
    recipe = find_recipe("debug")
    for stage in STAGES:
        found = estimate(recipe, stage, gpu="cpu")
        assert found, stage
        for each in found:
            assert each.memory.total > each.memory.activations > 0
            assert each.flops > 0
            assert each.work.plan.steps * each.work.plan.batch == each.samples
    assert work_of(find_recipe("sd15-512"), "teacher") == []
    samples = estimate_samples(recipe, gpu="cpu")
    assert samples.count == recipe.samples.count + recipe.samples.held_out
    pixels = recipe.size[0] * recipe.size[1]
    assert samples.disk == samples.count * (3 * pixels + 4 * 4 * pixels // 64)


def test_what_learns_together_is_reckoned_by_its_squares_and_players() -> None:
    recipe = tiny_together(Path("nowhere"))
    networks = Networks(recipe)

    def flops(name: str, crop: int) -> float:
        return networks.cost(name, crop=crop).flops

    assert flops("teacher encoder", 8) == flops("teacher encoder", 0) / 4, "8×8 of 16×16 latents, convolutions alone"
    found = {each.work.name: each for stage in STAGES[:-1] for each in estimate(recipe, stage, gpu="cpu")}
    assert list(found) == [
        *("teacher/autoencoder", "teacher/small", "teacher/words", "teacher/whole", "decoder", "unet"),
        *("one-step/small", "one-step/whole", "controlnet"),
    ]
    one = {name: each.flops / each.samples for name, each in found.items()}
    teachers, students = (("teacher U-Net", "teacher ControlNet"), ("student U-Net", "student ControlNet"))
    text = 2 * flops("teacher text", 0)  # some prompts lie between two
    for name, crop in (("teacher/small", 8), ("teacher/whole", 0)):
        assert one[name] == pytest.approx(3 * (text + sum(flops(each, crop) for each in teachers)))
    both = sum(flops(each, 8) for each in teachers) + 3 * sum(flops(each, 8) for each in students)
    assert one["unet"] == pytest.approx(text + both)
    assert one["decoder"] == pytest.approx(3 * flops("decoder", 8))
    looks = text + 3 * flops("teacher U-Net encoder", 0)
    painting = [*students, "decoder"]  # where pictures are compared, and features aren't
    own_text = 2 * flops("student text", 0)
    wanted = text + 3 * (own_text + sum(flops(each, 0) for each in painting))
    assert one["one-step/whole"] == pytest.approx(wanted)
    learning = (*painting, "student text")
    assert found["one-step/whole"].work.trained == found["one-step/whole"].work.averaged == learning
    assert one["teacher/words"] == pytest.approx(3 * flops("teacher text", 0))
    assert one["controlnet"] == pytest.approx(looks + own_text + 2 * flops(students[0], 0) + 3 * flops(students[1], 0))
    assert {name: len(each.work.turns) for name, each in found.items() if name[:3] == "one"} == {
        "one-step/small": 2,
        "one-step/whole": 1,
    }, "the fake score plays where a score is asked"
    assert 3 < found["teacher/whole"].memory.activations / found["teacher/small"].memory.activations < 6


def test_the_first_stage_that_learns_from_pictures_or_samples_makes_them() -> None:
    assert makers(find_recipe("embedded")) == ("teacher", "gan-finetune")
    assert makers(find_recipe("debug")) == (None, "decoder")
    recipe = tiny_together(Path("nowhere"))
    found = estimate_encoded(recipe, gpu="cpu")
    assert found.count == 70 + 8
    assert found.disk == found.count * (2 * 8 * (2 * 16 * 16 + 4 * 4) + 4 * 128 * 128)
    assert found.flops == found.count * Networks(recipe).cost("teacher encoder").flops
    with pytest.raises(TrainingError, match="says nothing of encoded pictures"):
        estimate_encoded(find_recipe("debug"))


def test_phases_of_a_plan_are_told_by_their_names() -> None:
    told = dict(settings_of(tiny_together(Path("nowhere")).one_step))
    assert told["together.small.plan.steps"] == "4"
    assert told["together.whole.method.pixels"] == "1.0"


def test_the_planned_teacher_is_the_one_that_is_built() -> None:
    recipe = find_recipe("debug")
    from pipelines.training import fresh

    assert recipe.teacher_plan is not None
    known = teacher_layout(recipe)
    built = fresh.unet(recipe.teacher_plan.networks, recipe.size[0] // 8)
    assert layout.parameters(known.unet) == sum(each.numel() for each in built.parameters())
    assert known.controlnet is not None
    control = fresh.controlnet(recipe.teacher_plan.networks, built, 0.0)
    assert layout.parameters(known.controlnet) == sum(each.numel() for each in control.parameters())


def test_a_dry_run_prints_every_number_of_the_plan() -> None:
    recipe = find_recipe("debug")
    console = Console(record=True, width=200, file=io.StringIO())
    print_stage(console, recipe, "controlnet", gpu="cpu")
    text = console.export_text()
    for name, value in settings_of(recipe.controlnet):
        assert name in text
        assert value in text
    for words in ("memory a process", "FLOPs", "controlnet/distil", "controlnet/one-step", "Estimates."):
        assert words in text
    assert "GPU-hours" not in text


def test_what_is_not_known_is_said() -> None:
    recipe = find_recipe("sd15-512")
    with pytest.raises(TrainingError, match="no recipe 'sd3'; the recipes are"):
        find_recipe("sd3")
    with pytest.raises(TrainingError, match="no figure for --gpu 'abacus'"):
        estimate(recipe, "unet", gpu="abacus")
    with pytest.raises(TrainingError, match="not known without fetching"):
        estimate(recipe, "unet", teacher="somebody/else")
