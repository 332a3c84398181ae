"""``debug``: the whole method in minutes on one core, on drawn shapes; what CI runs."""

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

_CONTROL = (8, 8, 16, 16)
#: ``guidance`` is that of the teacher's samples: otherwise the two segments would pull apart.
_METHOD = Distilling(warmup=0.4, guidance=2.0, feature_window=3, fake_draws=2)

_TEACHER = TeacherPlan(
    networks=Networks(
        autoencoder_channels=16,
        encoder_blocks=(0, 1, 1, 1),
        decoder_blocks=(2, 1, 1, 0),
        channels=(32, 48, 64, 64),
        norm_groups=8,
        control_channels=_CONTROL,
        text_width=48,
        text_layers=1,
        text_length=16,
        vocabulary=1024,
    ),
    autoencoder=Plan(steps=150, learning_rate=4e-3, batch=16, ema=0.97),
    diffusion=Plan(steps=300, learning_rate=3e-3, batch=16, ema=0.98),
    controlnet=Plan(steps=100, learning_rate=6e-3, batch=16, ema=0.95),
    control_start=0.1,
    shown_steps=8,
    shown_guidance=2.0,
)

RECIPE = Recipe(
    name="debug",
    about="The whole method on drawn shapes of 64×64 pixels, in minutes on one core: to try it, and for CI.",
    size=(64, 64),
    data="shapes",
    teacher_plan=_TEACHER,
    samples=SamplesPlan(count=128, held_out=32, steps=8, guidance=2.0, batch=32),
    decoder=DecoderPlan(
        plan=Plan(steps=150, learning_rate=3e-3, batch=8, ema=0.97),
        channels=16,
        blocks=(1, 1, 0, 0),
        encoder_channels=16,
        encoder_blocks=(0, 0, 1, 1),
        critic_channels=16,
    ),
    removal=Removal(),
    unet=UNetPlan(plan=Plan(steps=100, learning_rate=3e-3, batch=16, ema=0.97, checkpoint_every=20)),
    one_step=OneStepPlan(plan=Plan(steps=80, learning_rate=3e-3, batch=8, ema=0.97), method=_METHOD),
    controlnet=ControlNetPlan(
        distil=Plan(steps=60, learning_rate=6e-3, batch=8, ema=0.95),
        one_step=Plan(steps=120, learning_rate=6e-3, batch=8, ema=0.95),
        # The teacher's own hardly hears its map after so few steps; the drawn pictures and a mean square teach more.
        from_teacher=False,
        zero_std=0.1,
        hint_channels=_CONTROL,
        method=dataclasses.replace(_METHOD, fresh=0.0, warmup=0.7, regression=2.0),
        pictures=True,
    ),
    gan_finetune=GanPlan(
        plan=Plan(steps=60, learning_rate=2e-3, batch=8, ema=0.95), convolutions=True, critic_channels=16
    ),
)
