"""``debug``: the whole method in minutes on one core, on drawn shapes; what CI runs."""

from __future__ import annotations

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

_TEACHER = TeacherPlan(
    networks=Networks(
        autoencoder_channels=16,
        encoder_blocks=(0, 0, 1, 1),
        decoder_blocks=(1, 1, 0, 0),
        channels=(32, 48, 64, 64),
        norm_groups=8,
        control_channels=(8, 8, 16, 16),
        text_width=48,
        text_layers=1,
        text_length=16,
        vocabulary=1024,
    ),
    autoencoder=Plan(steps=150, learning_rate=3e-3, batch=16, ema=0.98),
    diffusion=Plan(steps=200, learning_rate=2e-3, batch=16, ema=0.98),
    controlnet=Plan(steps=60, learning_rate=2e-3, batch=16, ema=0.97),
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
        plan=Plan(steps=80, learning_rate=3e-3, batch=8, ema=0.97),
        channels=16,
        blocks=(1, 1, 0, 0),
        encoder_channels=16,
        encoder_blocks=(0, 0, 1, 1),
        critic_channels=16,
    ),
    removal=Removal(),
    unet=UNetPlan(plan=Plan(steps=80, learning_rate=2e-3, batch=16, ema=0.97, checkpoint_every=20)),
    one_step=OneStepPlan(
        plan=Plan(steps=60, learning_rate=1e-3, batch=8, ema=0.97), method=Distilling(warmup=0.5, guidance=1.0)
    ),
    controlnet=ControlNetPlan(
        distil=Plan(steps=40, learning_rate=2e-3, batch=8, ema=0.95),
        one_step=Plan(steps=40, learning_rate=1e-3, batch=8, ema=0.95),
        method=Distilling(fresh=0.0, warmup=0.5),
    ),
    gan_finetune=GanPlan(plan=Plan(steps=20, learning_rate=5e-4, batch=8, ema=0.9), critic_channels=16),
)
