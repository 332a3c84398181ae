"""``shapes``: the drawn world of ``debug`` and networks large enough to be looked at; the ablation is made with it."""

from __future__ import annotations

import dataclasses

from pipelines.training.data.samples import SamplesPlan
from pipelines.training.fresh import Networks
from pipelines.training.one_step_players import Distilling
from pipelines.training.phase import Plan
from pipelines.training.recipe import Recipe
from pipelines.training.removal import Removal
from pipelines.training.stages.controlnet import ControlNetPlan
from pipelines.training.stages.decoder import DecoderPlan
from pipelines.training.stages.gan_finetune import GanPlan
from pipelines.training.stages.one_step import OneStepPlan
from pipelines.training.stages.teacher_plan import TeacherPlan
from pipelines.training.stages.unet import UNetPlan

#: ``guidance`` is that of the teacher's samples: otherwise the two segments would pull apart.
_METHOD = Distilling(warmup=0.25, guidance=2.0, feature_window=3, fake_draws=2)

_TEACHER = TeacherPlan(
    networks=Networks(
        autoencoder_channels=32,
        encoder_blocks=(0, 1, 1, 1),
        decoder_blocks=(2, 1, 1, 0),
        channels=(48, 72, 96, 96),
        norm_groups=8,
        control_channels=(16, 16, 32, 32),
        text_width=64,
        text_layers=2,
        text_length=16,
        vocabulary=1024,
    ),
    autoencoder=Plan(steps=1000, learning_rate=2e-3, batch=16, ema=0.99),
    diffusion=Plan(steps=3000, learning_rate=1.5e-3, batch=32, ema=0.995, sample_every=500),
    controlnet=Plan(steps=600, learning_rate=1.5e-3, batch=16, ema=0.99),
    shown_steps=12,
    shown_guidance=2.0,
)

RECIPE = Recipe(
    name="shapes",
    about="The method on drawn shapes of 64×64 pixels, about an hour on one core: the ablation of docs/training.md.",
    size=(64, 64),
    data="shapes",
    teacher_plan=_TEACHER,
    samples=SamplesPlan(count=1024, held_out=256, steps=12, guidance=2.0, batch=64),
    decoder=DecoderPlan(
        plan=Plan(steps=600, learning_rate=3e-3, batch=8, ema=0.99),
        channels=32,
        blocks=(1, 1, 1, 0),
        encoder_channels=32,
        encoder_blocks=(0, 1, 1, 1),
        critic_channels=32,
    ),
    removal=Removal(),
    unet=UNetPlan(plan=Plan(steps=1000, learning_rate=1.5e-3, batch=16, ema=0.99), guidance=2.0),
    one_step=OneStepPlan(plan=Plan(steps=1500, learning_rate=2e-3, batch=12, ema=0.99), method=_METHOD),
    controlnet=ControlNetPlan(
        distil=Plan(steps=400, learning_rate=1.5e-3, batch=12, ema=0.98),
        one_step=Plan(steps=400, learning_rate=1e-3, batch=12, ema=0.98),
        hint_channels=(16, 16, 32, 32),
        method=dataclasses.replace(_METHOD, fresh=0.0),
    ),
    gan_finetune=GanPlan(plan=Plan(steps=150, learning_rate=5e-4, batch=12, ema=0.95), critic_channels=32),
)
