"""A recipe like ``embedded`` at tiny size: all its stages in seconds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipelines.training.data import meaning
from pipelines.training.data.encoded import EncodedPlan
from pipelines.training.data.samples import SamplesPlan
from pipelines.training.fresh import Networks
from pipelines.training.one_step_players import Distilling
from pipelines.training.phase import Plan
from pipelines.training.recipe import Recipe
from pipelines.training.removal import Removal
from pipelines.training.stages import teacher_autoencoder
from pipelines.training.stages.controlnet import ControlNetPlan
from pipelines.training.stages.decoder import DecoderPlan
from pipelines.training.stages.gan_finetune import GanPlan
from pipelines.training.stages.one_step import OneStepPlan
from pipelines.training.stages.one_step_together import PairPart
from pipelines.training.stages.teacher_plan import Reading, TeacherPlan, Together
from pipelines.training.stages.unet import UNetPlan

NETWORKS = Networks(
    latent_channels=8,
    autoencoder_channels=16,
    decoder_blocks=(1, 0, 1, 0),
    subpixel=True,
    channels=(16, 16, 32, 32),
    heads=2,
    norm_groups=8,
    control_channels=(4, 8, 16, 64),
    text_width=32,
    text_layers=1,
    text_length=16,
    vocabulary=600,
    pooled_text=True,
    whole_maps=True,
    highest_transformers=False,
)


def _plan(steps: int = 4) -> Plan:
    return Plan(steps=steps, learning_rate=1e-3, batch=4, warmup=1, ema=0.0)


def tiny_together(world: Path) -> Recipe:
    """``world``: a folder of ``small_world``."""
    plan = _plan()
    painted = Distilling(warmup=1.0, matched=False, fresh=0.0, regression=1.0, pixels=1.0, slopes=1.0, reads=True)
    return Recipe(
        name="tiny",
        about="",
        size=(128, 128),
        data=f"drawn:{world}",
        encoded=EncodedPlan(count=70, held_out=8, mixed=0.5),
        teacher_plan=TeacherPlan(
            networks=NETWORKS,
            autoencoder=_plan(8),
            together=(
                Together(name="small", plan=plan, crop=8),
                Reading(name="words", plan=dataclasses.replace(_plan(80), learning_rate=4e-3, batch=16)),
                Together(name="whole", plan=_plan(2), late=2.0),
            ),
            kinds=("canny", "sketch"),
            crop=64,
            crops=2,
            shown_steps=2,
            shown_guidance=1.0,
            control_start=0.05,
        ),
        samples=SamplesPlan(count=4, held_out=2, steps=2, guidance=1.0),
        decoder=DecoderPlan(
            plan=plan, encoded=True, crop=8, channels=16, blocks=(1, 1, 0, 0), adversarial=0.0, pixels=1.0
        ),
        removal=Removal(),
        unet=UNetPlan(plan=plan, together=True, crop=8),
        one_step=OneStepPlan(
            together=(
                PairPart(name="small", plan=plan, crop=8, method=Distilling(warmup=0.5, fresh=0.0, regression=1.0)),
                PairPart(name="whole", plan=_plan(2), method=painted, depths=0.5, between=0.5),
            )
        ),
        controlnet=ControlNetPlan(
            distil=None,
            one_step=_plan(2),
            encoded=True,
            method=Distilling(warmup=1.0, fresh=0.0, regression=1.0, reads=True),
        ),
        gan_finetune=GanPlan(plan=plan),
    )


@contextmanager
def few_pictures() -> Iterator[None]:
    """What is measured on the data is measured on a few of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(meaning, "_LOOKED_AT", 24)
        patch.setattr(teacher_autoencoder, "SCALED_BY", 16)
        patch.setattr(teacher_autoencoder, "HELD_OUT", 8)
        yield
