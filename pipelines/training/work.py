"""What each stage does with one sample, as passes through networks: what a dry run reckons with.

Kept beside the stages' players: a pass there is a line here. ``train``: forward, and backward to the weights and the
input (three times a forward's FLOPs); ``through``: backward to the input alone (twice); ``look``: forward only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipelines.training.cost import Way
from pipelines.training.one_step_players import Distilling
from pipelines.training.phase import Plan
from pipelines.training.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Pass:
    """``times``: on average, for each sample of a step."""

    network: str
    way: Way
    times: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Work:
    """One phase. ``turns``: each player's passes. ``trained``: networks with gradients and AdamW's states;
    ``averaged``: those with a running average; ``frozen``: how often each of the others is in memory."""

    name: str
    plan: Plan
    turns: Sequence[Sequence[Pass]]
    trained: Sequence[str]
    averaged: Sequence[str]
    frozen: Mapping[str, int] = field(default_factory=dict)


def work_of(recipe: Recipe, stage: str) -> list[Work]:
    """The phases of a stage."""
    return {
        "teacher": _teacher,
        "decoder": _decoder,
        "unet": _unet,
        "one-step": _one_step,
        "controlnet": _controlnet,
        "gan-finetune": _gan_finetune,
    }[stage](recipe)


def _teacher(recipe: Recipe) -> list[Work]:
    plan = recipe.teacher_plan
    if plan is None:
        return []
    encoded = [_look("teacher encoder")]
    denoising = [*encoded, _train("teacher text"), _train("teacher U-Net")]
    controlled = [*encoded, _look("teacher text"), _train("teacher ControlNet"), _through("teacher U-Net")]
    coders = ("teacher decoder", "teacher encoder")
    denoisers = ("teacher U-Net", "teacher text")
    first = Work(
        name="teacher/autoencoder",
        plan=plan.autoencoder,
        turns=[[_train(each) for each in coders]],
        trained=coders,
        averaged=coders,
    )
    second = Work(
        name="teacher/diffusion",
        plan=plan.diffusion,
        turns=[denoising],
        trained=denoisers,
        averaged=denoisers,
        frozen=dict.fromkeys(coders, 1),
    )
    others = [
        Work(
            name=f"teacher/controlnet-{kind}" if number else "teacher/controlnet",
            plan=plan.controlnet,
            turns=[controlled],
            trained=["teacher ControlNet"],
            averaged=["teacher ControlNet"],
            frozen=dict.fromkeys((*coders, *denoisers), 1),
        )
        for number, kind in enumerate(plan.kinds)
    ]
    return [first, second, *others]


def _decoder(recipe: Recipe) -> list[Work]:
    settings = recipe.decoder
    share = 1 - settings.adversarial_from if settings.adversarial else 0.0
    turns = [[_train("decoder"), _through("critic", share)], [_train("encoder")]]
    critic = [_look("decoder", share), _train("critic", 3 * share)]
    return [
        Work(
            name="decoder",
            plan=settings.plan,
            turns=[*turns, critic] if share else turns,
            trained=["decoder", "encoder", *(["critic"] if share else [])],
            averaged=["decoder", "encoder"],
        )
    ]


def _unet(recipe: Recipe) -> list[Work]:
    asked = 2 if recipe.unet.guidance != 1 else 1
    passes = [_look("teacher text", asked + 1), _look("teacher U-Net", asked), _train("student U-Net")]
    if recipe.unet.pictures:
        passes.append(_look("teacher encoder"))
    return [
        Work(
            name="unet",
            plan=recipe.unet.plan,
            turns=[passes],
            trained=["student U-Net"],
            averaged=["student U-Net"],
            frozen=TEACHER,
        )
    ]


def _one_step(recipe: Recipe) -> list[Work]:
    settings = recipe.one_step
    return [
        Work(
            name="one-step",
            plan=settings.plan,
            turns=_distilling(settings.method, [_train("student U-Net")], [_look("student U-Net")], ()),
            trained=["student U-Net", "teacher U-Net (fake)"],
            averaged=["student U-Net"],
            frozen={**TEACHER, **STUDENT},
        )
    ]


def _controlnet(recipe: Recipe) -> list[Work]:
    found = []
    for kind in recipe.controlnet.kinds:
        has = any(each.startswith(f"{kind}=") for each in recipe.teacher_controlnets)
        has = has or (recipe.teacher_plan is not None and kind in recipe.teacher_plan.kinds)
        place = "controlnet" if kind == recipe.controlnet.kinds[0] else f"controlnet_{kind}"
        found += _pair(recipe, place, ("teacher ControlNet",) if has else ())
    return found


def _pair(recipe: Recipe, place: str, controls: Sequence[str]) -> list[Work]:
    """Both phases of one kind. ``controls``: the teacher's ControlNet, if it has one of the kind."""
    plan, asked = recipe.controlnet, 2 if recipe.unet.guidance != 1 else 1
    painting = [_train("student ControlNet"), _through("student U-Net")]
    teachers = [_look(each, asked) for each in (*controls, "teacher U-Net")] if controls else []
    watching = [_look("student ControlNet"), _look("student U-Net")]
    frozen = {**TEACHER, **STUDENT, "student U-Net": 1, **dict.fromkeys(controls, 1)}
    averaged = ["student ControlNet"]
    return [
        Work(
            name=f"{place}/distil",
            plan=plan.distil,
            turns=[[_look("teacher text", asked + 1), *teachers, *painting]],
            trained=averaged,
            averaged=averaged,
            frozen=frozen,
        ),
        Work(
            name=f"{place}/one-step",
            plan=plan.one_step,
            turns=_distilling(plan.method, painting, watching, controls),
            trained=["student ControlNet", "teacher U-Net (fake)"],
            averaged=averaged,
            frozen=frozen,
        ),
    ]


def _gan_finetune(recipe: Recipe) -> list[Work]:
    settings = recipe.gan_finetune
    student = [
        *(_look("teacher text"), _look("student U-Net"), _through("student U-Net")),
        *(_through("teacher U-Net encoder"), _through("heads")),
    ]
    heads = [
        *(_look("teacher text"), _look("student U-Net"), _look("teacher U-Net encoder", 2), _train("heads", 3)),
        *([_look("teacher encoder")] if settings.pictures else []),
    ]
    return [
        Work(
            name="gan-finetune",
            plan=settings.plan,
            turns=[student, heads],
            trained=["LoRA", "heads"],
            averaged=["LoRA"],
            frozen={**TEACHER, **STUDENT, "student U-Net": 1},
        )
    ]


def _distilling(
    method: Distilling, painting: Sequence[Pass], watching: Sequence[Pass], controls: Sequence[str]
) -> list[list[Pass]]:
    """The student's turn, whose score half begins after the warm-up, and the fake score's."""
    share = 1 - method.warmup
    asked = share * (2 if method.guidance != 1 else 1)
    student = [_look("teacher text", 1 + (asked > share)), *painting]
    student += [_look("teacher U-Net encoder"), _through("teacher U-Net encoder")]
    student += [_look("teacher U-Net", asked), _look("teacher U-Net (fake)", share)]
    student += [_look(each, asked + share) for each in controls]
    fake = [_look("teacher text"), *watching, _train("teacher U-Net (fake)", method.fake_draws)]
    return [student, [*fake, *(_look(each, method.fake_draws) for each in controls)]]


#: What ``Model`` moves to the device beside what trains.
TEACHER = {"teacher U-Net": 1, "teacher decoder": 1, "teacher encoder": 1, "teacher text": 1}
STUDENT = {"decoder": 1, "encoder": 1, "student text": 1}


def _train(network: str, times: float = 1.0) -> Pass:
    return Pass(network=network, way="train", times=times)


def _through(network: str, times: float = 1.0) -> Pass:
    return Pass(network=network, way="through", times=times)


def _look(network: str, times: float = 1.0) -> Pass:
    return Pass(network=network, way="look", times=times)
