"""A recipe: everything that decides what a training run gives."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.training.data.encoded import EncodedPlan
from pipelines.training.data.samples import SamplesPlan
from pipelines.training.removal import Removal
from pipelines.training.stages.controlnet import ControlNetPlan
from pipelines.training.stages.decoder import DecoderPlan
from pipelines.training.stages.gan_finetune import GanPlan
from pipelines.training.stages.one_step import OneStepPlan
from pipelines.training.stages.teacher import TeacherPlan
from pipelines.training.stages.unet import UNetPlan


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """``size``: (height, width) in pixels. ``data``: what ``--data`` would name, empty where it has to be given.
    ``teacher``: a model's name or repository, empty for one that the stage ``teacher`` trains by ``teacher_plan``.
    ``encoded``: latents of the data's own pictures, kept with their maps, for stages that say so.
    ``teacher_controlnets``: ``KIND=REPO`` of the teacher's ControlNets. ``about``: one sentence."""

    name: str
    about: str
    size: tuple[int, int]
    data: str
    samples: SamplesPlan
    decoder: DecoderPlan
    removal: Removal
    unet: UNetPlan
    one_step: OneStepPlan
    controlnet: ControlNetPlan
    gan_finetune: GanPlan
    teacher: str = ""
    teacher_controlnets: tuple[str, ...] = ()
    teacher_plan: TeacherPlan | None = None
    encoded: EncodedPlan | None = None
