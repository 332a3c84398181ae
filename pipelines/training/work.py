"""What each stage does with one sample, as passes through networks: what a dry run reckons with.

Kept beside the stages' players: a pass there is a line here. What learns together is in ``work_together``.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.training import work_together
from pipelines.training.model import FACTOR
from pipelines.training.passes import STUDENT, TEACHER, Work, distilling, look, said, through, train
from pipelines.training.recipe import Recipe
from pipelines.training.stages.teacher_plan import TeacherPlan


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


_CODERS = ("teacher decoder", "teacher encoder")


def _teacher(recipe: Recipe) -> list[Work]:
    plan = recipe.teacher_plan
    if plan is None:
        return []
    first = [_autoencoder(plan, "autoencoder")] + ([_autoencoder(plan, "lines")] if plan.lines else [])
    if plan.together:
        return first + work_together.teacher(recipe, plan)
    return [*first, *_denoising(plan)]


def _autoencoder(plan: TeacherPlan, part: str) -> Work:
    return Work(
        name=f"teacher/{part}",
        plan=said(plan.lines if part == "lines" else plan.autoencoder),
        turns=[[train(each) for each in _CODERS]],
        trained=_CODERS,
        averaged=_CODERS,
        crop=plan.crop // FACTOR,
    )


def _denoising(plan: TeacherPlan) -> list[Work]:
    encoded, denoisers = [look("teacher encoder")], ("teacher U-Net", "teacher text")
    controlled = [*encoded, look("teacher text"), train("teacher ControlNet"), through("teacher U-Net")]
    first = Work(
        name="teacher/diffusion",
        plan=said(plan.diffusion),
        turns=[[*encoded, train("teacher text"), train("teacher U-Net")]],
        trained=denoisers,
        averaged=denoisers,
        frozen=dict.fromkeys(_CODERS, 1),
    )
    others = [
        Work(
            name=f"teacher/controlnet-{kind}" if number else "teacher/controlnet",
            plan=said(plan.controlnet),
            turns=[controlled],
            trained=["teacher ControlNet"],
            averaged=["teacher ControlNet"],
            frozen=dict.fromkeys((*_CODERS, *denoisers), 1),
        )
        for number, kind in enumerate(plan.kinds)
    ]
    return [first, *others]


def _decoder(recipe: Recipe) -> list[Work]:
    settings = recipe.decoder
    share = 1 - settings.adversarial_from if settings.adversarial else 0.0
    turns = [[train("decoder"), through("critic", share)], *([] if settings.encoded else [[train("encoder")]])]
    critic = [look("decoder", share), train("critic", 3 * share)]
    own = ["decoder"] if settings.encoded else ["decoder", "encoder"]
    return [
        Work(
            name="decoder",
            plan=settings.plan,
            turns=[*turns, critic] if share else turns,
            trained=[*own, *(["critic"] if share else [])],
            averaged=["decoder", "encoder"],
            frozen={"encoder": 1} if settings.encoded else {},
            crop=settings.crop if settings.encoded else 0,
        )
    ]


def _unet(recipe: Recipe) -> list[Work]:
    if recipe.unet.together:
        return [work_together.unet(recipe)]
    asked = 2 if recipe.unet.guidance != 1 else 1
    passes = [look("teacher text", asked + 1), look("teacher U-Net", asked), train("student U-Net")]
    if recipe.unet.pictures:
        passes.append(look("teacher encoder"))
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
    if settings.together:
        return work_together.one_step(recipe)
    return [
        Work(
            name="one-step",
            plan=said(settings.plan),
            turns=distilling(settings.method, [train("student U-Net")], [look("student U-Net")], ()),
            trained=["student U-Net", "teacher U-Net (fake)"],
            averaged=["student U-Net"],
            frozen={**TEACHER, **STUDENT},
        )
    ]


def _controlnet(recipe: Recipe) -> list[Work]:
    if recipe.controlnet.encoded:
        return [work_together.controlnet(recipe)]
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
    painting = [train("student ControlNet"), through("student U-Net")]
    teachers = [look(each, asked) for each in (*controls, "teacher U-Net")] if controls else []
    watching = [look("student ControlNet"), look("student U-Net")]
    frozen = {**TEACHER, **STUDENT, "student U-Net": 1, **dict.fromkeys(controls, 1)}
    averaged = ["student ControlNet"]
    return [
        Work(
            name=f"{place}/distil",
            plan=said(plan.distil),
            turns=[[look("teacher text", asked + 1), *teachers, *painting]],
            trained=averaged,
            averaged=averaged,
            frozen=frozen,
        ),
        Work(
            name=f"{place}/one-step",
            plan=plan.one_step,
            turns=distilling(plan.method, painting, watching, controls),
            trained=["student ControlNet", "teacher U-Net (fake)"],
            averaged=averaged,
            frozen=frozen,
        ),
    ]


def _gan_finetune(recipe: Recipe) -> list[Work]:
    settings = recipe.gan_finetune
    student = [
        *(look("teacher text"), look("student U-Net"), through("student U-Net")),
        *(through("teacher U-Net encoder"), through("heads")),
    ]
    heads = [
        *(look("teacher text"), look("student U-Net"), look("teacher U-Net encoder", 2), train("heads", 3)),
        *([look("teacher encoder")] if settings.pictures else []),
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
