"""Stage ``controlnet``: a small ControlNet for the one-step student, one for each kind of map (SDXS, arXiv 2403.16627,
section 3.3).

First, ``controlnet/distil``: teacher's ControlNet and U-Net into the small pair, whose U-Net is the frozen one that the
stage ``unet`` left. f_l are the outputs of the up stages, where residuals arrive:

    L = ‖ε̂_θ(x_t, t, c) − ε̂_φ(x_t, t, c)‖² + λ_F · Σ_l ‖f_l(θ) − f_l(φ)‖² / ‖f_l(φ)‖²

Then, ``controlnet/one-step``: the one-step U-Net is frozen, and its ControlNet learns as that U-Net did, by score
distillation and feature matching, with the teacher's ControlNet frozen on both scores. Maps c are drawn from the
teacher's samples. Noise tells much of its sample's contours, so part of it is replaced: there the map alone can tell.

Where the teacher has no ControlNet of a kind, the first phase is ordinary control training of the small pair on the
teacher's samples (arXiv 2302.05543), L = ‖ε̂_θ(x_t, t, c) − ε‖², and the scores go without control.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers import ControlNetModel

from pipelines.compatible import check_controlnet
from pipelines.errors import TrainingError
from pipelines.training.answers import Triplets
from pipelines.training.control_phases import DistilPhase, OneStepPhase, Place
from pipelines.training.control_players import ControlDistiller, PlainScores
from pipelines.training.data.encoded import ensure_encoded
from pipelines.training.data.pictures import open_pictures
from pipelines.training.data.samples import ensure_samples
from pipelines.training.model import Model
from pipelines.training.one_step_players import Distillation, Distilling
from pipelines.training.phase import Phase, Plan
from pipelines.training.removal import Removal, student_controlnet, student_of
from pipelines.training.run import Run
from pipelines.training.stages.one_step_together import OneStepTogetherPhase, PairPart


@dataclass(frozen=True, kw_only=True)
class ControlNetPlan:
    """``distil`` and ``one_step``: the two phases' plans. ``kinds``: one ControlNet each, in the folders ``controlnet``
    and ``controlnet_KIND``.

    ``from_teacher``: start with what block removal leaves of the teacher's ControlNet, if it has one; otherwise with
    the student's own encoder, an entry for the map of ``hint_channels``, zero convolutions of deviation ``zero_std``.
    ``pictures``: targets and maps come from the data set's pictures instead of the teacher's samples; no noise belongs
    to those. ``encoded``: the ControlNet that learned with its U-Net goes on alone, in one step, on the recipe's
    ``encoded`` pictures; there is no first phase then. ``features``: λ_F. ``drop_prompts``: the share of the first
    phase's samples whose prompt is left out. ``method``: of the second phase; its own ``fresh`` is 0 because of
    ``replaced``: the share of samples whose noise is replaced while map and target stay.
    """

    distil: Plan | None
    one_step: Plan
    kinds: tuple[str, ...] = ("canny",)
    from_teacher: bool = True
    hint_channels: tuple[int, ...] = (16, 32, 96, 256)
    zero_std: float = 0.0
    features: float = 0.1
    drop_prompts: float = 0.1
    method: Distilling = field(default_factory=lambda: Distilling(fresh=0.0))
    replaced: float = 0.5
    pictures: bool = False
    encoded: bool = False


def phases(run: Run, *, device: torch.device) -> Iterator[Phase]:
    """Two phases for each kind. Raises TrainingError for missing stages, MisfitError for a ControlNet that doesn't fit
    the student, and what loading the teacher raises."""
    settings = run.recipe.controlnet
    if settings.encoded:
        yield _alone(run, device)
        return
    pair, base = (run.model(stage, wanted_by="controlnet") for stage in ("unet", "one-step"))
    samples: tuple[Triplets, Triplets]
    samples = open_pictures(run) if settings.pictures else ensure_samples(run, _teacher(run), device=device)
    for kind in settings.kinds:
        place = Place(kind=kind, is_first=kind == settings.kinds[0])
        yield _distil(run, place, pair, samples)
        yield _one_step(run, place, base, samples)
        base = run.folder / place.phase("one-step") / "model"


def _alone(run: Run, device: torch.device) -> Phase:
    settings, base, teacher = run.recipe.controlnet, run.model("one-step", wanted_by="controlnet"), _teacher(run)
    student = Model.load(base)
    shared = Distillation.make(
        settings.method, settings.one_step.steps, student, teacher, next(iter(student.controlnets))
    )
    encoded = ensure_encoded(run, teacher, device=device)
    part = PairPart(name="controlnet", plan=settings.one_step, method=settings.method)
    return OneStepTogetherPhase(part.name, part, shared, base, *encoded)


def _distil(run: Run, place: Place, base: Path, samples: tuple[Triplets, Triplets]) -> Phase:
    settings, sampling, teacher = run.recipe.controlnet, run.recipe.samples, _teacher(run)
    small = Model.load(base)
    student = with_controlnet(small, place.kind, started(place.kind, settings, run.recipe.removal, small, teacher))
    # What the student's U-Net learned its teacher's outputs with; where that was none, sampling needs a second pass.
    learned = run.recipe.unet.guidance
    player = ControlDistiller(
        place.kind,
        student,
        teacher,
        weight=settings.features,
        guidance=learned,
        drop_prompts=settings.drop_prompts,
    )
    if settings.distil is None:
        raise TrainingError(f"The recipe {run.recipe.name} doesn't say how a ControlNet is begun.")
    return DistilPhase(
        settings.distil,
        place,
        student,
        teacher,
        player,
        base,
        *samples,
        sampling=sampling,
        guidance=1.0 if learned != 1 else sampling.guidance,
    )


def _one_step(run: Run, place: Place, base: Path, samples: tuple[Triplets, Triplets]) -> Phase:
    settings, teacher = run.recipe.controlnet, _teacher(run)
    control = ControlNetModel.from_pretrained(run.folder / place.phase("distil") / "model" / place.folder)
    student = with_controlnet(Model.load(base), place.kind, control)
    taught = Distillation if place.kind in teacher.controlnets else PlainScores
    shared = taught.make(settings.method, settings.one_step.steps, student, teacher, place.kind)
    return OneStepPhase(settings.one_step, place, shared, base, *samples, replaced=settings.replaced)


def started(kind: str, settings: ControlNetPlan, removal: Removal, student: Model, teacher: Model) -> Any:
    """The ControlNet that training begins with. Raises TrainingError or MisfitError where it can't fit the student."""
    if settings.from_teacher and kind in teacher.controlnets:
        control = student_of(teacher.controlnets[kind], removal)
    else:
        torch.manual_seed(settings.one_step.seed)
        control = student_controlnet(student.unet, hint_channels=settings.hint_channels, zero_std=settings.zero_std)
    config = {**control.config, "_class_name": "ControlNetModel"}
    check_controlnet(f"for {kind}", config, "the student", student.unet.config)
    return control


def with_controlnet(model: Model, kind: str, control: Any) -> Model:
    """A model with that ControlNet alone, which takes its maps as they are drawn."""
    return dataclasses.replace(model, controlnets={kind: control}, inverted=frozenset())


def _teacher(run: Run) -> Model:
    return Model.load(run.teacher_of("controlnet"), controlnets=run.recipe.teacher_controlnets)
