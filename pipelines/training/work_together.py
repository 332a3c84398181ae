"""What the phases do with one sample in which U-Net and ControlNet learn together, from pictures encoded once.

The encoder isn't asked: their latents are kept. Prompts are read twice where some samples lie between two of them.
"""

from __future__ import annotations

from pipelines.training.one_step_players import Distilling
from pipelines.training.passes import STUDENT, TEACHER, Pass, Work, distilling, look, through, train
from pipelines.training.phase import Plan
from pipelines.training.recipe import Recipe
from pipelines.training.stages.teacher_plan import TeacherPlan


def teacher(recipe: Recipe, plan: TeacherPlan) -> list[Work]:
    """U-Net, text encoder and ControlNet at once."""
    learning = ["teacher U-Net", "teacher text", "teacher ControlNet"]
    passes = [train("teacher U-Net"), train("teacher text", _prompts(recipe)), train("teacher ControlNet")]
    return [
        Work(
            name=f"teacher/{part.name}",
            plan=part.plan,
            turns=[passes],
            trained=learning,
            averaged=learning,
            frozen=dict.fromkeys(("teacher decoder", "teacher encoder"), 1),
            crop=part.crop,
        )
        for part in plan.together
    ]


def unet(recipe: Recipe) -> Work:
    """The small pair, told by the teacher's."""
    pair = ["student U-Net", "student ControlNet"]
    told = [look("teacher text", _prompts(recipe)), look("teacher ControlNet"), look("teacher U-Net")]
    return Work(
        name="unet",
        plan=recipe.unet.plan,
        turns=[[*told, *map(train, pair)]],
        trained=pair,
        averaged=pair,
        frozen={**TEACHER, "teacher ControlNet": 1},
        crop=recipe.unet.crop,
    )


def one_step(recipe: Recipe) -> list[Work]:
    """The small pair in one step."""
    pair = ["student U-Net", "student ControlNet"]
    return [
        _distilled(recipe, f"one-step/{part.name}", part.plan, part.method, pair, part.crop)
        for part in recipe.one_step.together
    ]


def controlnet(recipe: Recipe) -> Work:
    """The ControlNet alone, in one step, whole pictures."""
    plan = recipe.controlnet
    return _distilled(recipe, "controlnet", plan.one_step, plan.method, ["student ControlNet"], 0)


def _distilled(recipe: Recipe, name: str, plan: Plan, method: Distilling, learning: list[str], crop: int) -> Work:
    networks = ("student ControlNet", "student U-Net")
    more = [look("teacher text")] * (_prompts(recipe) - 1)
    painting: list[Pass] = [*more, *(train(each) if each in learning else through(each) for each in networks)]
    watching = [*more, *(look(each) for each in networks)]
    turns = distilling(method, painting, watching, ("teacher ControlNet",))
    plays = method.warmup < 1  # there is a fake score to train
    fake = "teacher U-Net (fake)"
    frozen = {**TEACHER, **STUDENT, "teacher ControlNet": 1, **{each: 1 for each in networks if each not in learning}}
    return Work(
        name=name,
        plan=plan,
        turns=turns if plays else turns[:1],
        trained=[*learning, *([fake] if plays else [])],
        averaged=learning,
        frozen=frozen if plays else {**frozen, fake: 1},
        crop=crop,
    )


def _prompts(recipe: Recipe) -> int:
    return 2 if recipe.encoded is not None and recipe.encoded.mixed else 1
