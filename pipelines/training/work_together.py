"""What the phases do with one sample in which U-Net and ControlNet learn together, from pictures encoded once.

The encoder isn't asked: their latents are kept. Prompts are read twice where some samples lie between two of them.
"""

from __future__ import annotations

from pipelines.training.one_step_players import Distilling
from pipelines.training.passes import STUDENT, TEACHER, Pass, Work, distilling, look, through, train
from pipelines.training.phase import Plan
from pipelines.training.recipe import Recipe
from pipelines.training.stages.teacher_plan import Reading, TeacherPlan

_PAIR, _DECODER, _TEXT = ("student U-Net", "student ControlNet"), ("decoder",), ("student text",)


def teacher(recipe: Recipe, plan: TeacherPlan) -> list[Work]:
    """U-Net, text encoder and ControlNet at once."""
    learning = ["teacher U-Net", "teacher text", "teacher ControlNet"]
    passes = [train("teacher U-Net"), train("teacher text", _prompts(recipe)), train("teacher ControlNet")]
    return [
        _reading(part)
        if isinstance(part, Reading)
        else Work(
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


def _reading(part: Reading) -> Work:
    """The text encoder alone; the layers above it are next to nothing."""
    text = ("teacher text",)
    others = ("teacher decoder", "teacher encoder", "teacher U-Net")
    return Work(
        name=f"teacher/{part.name}",
        plan=part.plan,
        turns=[[train("teacher text")]],
        trained=text,
        averaged=text,
        frozen=dict.fromkeys(others, 1),
    )


def unet(recipe: Recipe) -> Work:
    """The small pair, told by the teacher's."""
    told = [look("teacher text", _prompts(recipe)), look("teacher ControlNet"), look("teacher U-Net")]
    return Work(
        name="unet",
        plan=recipe.unet.plan,
        turns=[[*told, *map(train, _PAIR)]],
        trained=_PAIR,
        averaged=_PAIR,
        frozen={**TEACHER, "teacher ControlNet": 1},
        crop=recipe.unet.crop,
    )


def one_step(recipe: Recipe) -> list[Work]:
    """The small pair in one step, and the decoder where pictures are compared."""
    return [
        _distilled(recipe, f"one-step/{part.name}", part.plan, part.method, (*_PAIR, *_DECODER, *_TEXT), part.crop)
        for part in recipe.one_step.together
    ]


def controlnet(recipe: Recipe) -> Work:
    """The ControlNet alone, in one step, whole pictures."""
    plan = recipe.controlnet
    return _distilled(recipe, "controlnet", plan.one_step, plan.method, ("student ControlNet",), 0)


def _distilled(recipe: Recipe, name: str, plan: Plan, method: Distilling, learning: tuple[str, ...], crop: int) -> Work:
    networks = (*_PAIR, *(_DECODER if method.pixels else ()))
    reading = _TEXT if method.reads else ()
    learning = tuple(each for each in (*networks, *reading) if each in learning)
    more = [look("teacher text")] * (_prompts(recipe) - 1)
    more += [(train if each in learning else look)(each, _prompts(recipe)) for each in reading]
    painting: list[Pass] = [*more, *(train(each) if each in learning else through(each) for each in networks)]
    watching = [*more, *(look(each) for each in _PAIR)]
    turns = distilling(method, painting, watching, ("teacher ControlNet",))
    plays = method.warmup < 1  # there is a fake score to train
    fake = ("teacher U-Net (fake)",)
    trained = (*learning, *(fake if plays else ()))
    there = {**TEACHER, **STUDENT, **dict.fromkeys(("teacher ControlNet", *_PAIR, *fake), 1)}
    return Work(
        name=name,
        plan=plan,
        turns=turns if plays else turns[:1],
        trained=trained,
        averaged=learning,
        frozen={each: times for each, times in there.items() if each not in trained},
        crop=crop,
    )


def _prompts(recipe: Recipe) -> int:
    return 2 if recipe.encoded is not None and recipe.encoded.mixed else 1
