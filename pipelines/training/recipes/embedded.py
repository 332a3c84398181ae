"""``embedded``: a model of the shipped one's size, on styles drawn by filters along the edges of free pictures.

A plan: the shipped weights are older than this method (see their card), and this has not been run yet.
"""

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

_CONTROL = (16, 16, 32, 64)

_TEACHER = TeacherPlan(
    networks=Networks(
        latent_channels=16,
        autoencoder_channels=32,
        encoder_blocks=(0, 1, 2, 2),
        decoder_blocks=(2, 2, 1, 0),  # none at full resolution: half of the decoder's time would go there
        channels=(64, 80, 112, 112),
        control_channels=_CONTROL,
        text_width=64,
        text_layers=2,
        text_length=32,
        vocabulary=4096,
    ),
    autoencoder=Plan(steps=6000, learning_rate=2e-3, batch=16, workers=1, sample_every=1000),
    diffusion=Plan(steps=40_000, learning_rate=1e-3, batch=32, warmup=500, ema=0.9995, workers=1, sample_every=2000),
    controlnet=Plan(steps=10_000, learning_rate=1e-3, batch=16, warmup=200, workers=1, sample_every=1000),
    crop=128,
    shown_steps=16,
    shown_guidance=2.0,
)

RECIPE = Recipe(
    name="embedded",
    about="A model of the shipped one's size (256×256, canny), from free pictures and drawn styles; not run yet.",
    size=(256, 256),
    data="drawn",
    teacher_plan=_TEACHER,
    samples=SamplesPlan(count=8192, held_out=256, steps=16, guidance=2.0, batch=16),
    decoder=DecoderPlan(
        plan=Plan(steps=6000, learning_rate=2e-3, batch=8, workers=1, sample_every=1000),
        channels=32,
        blocks=(2, 2, 1, 0),
        encoder_channels=32,
        encoder_blocks=(0, 1, 2, 2),
        critic_channels=32,
    ),
    removal=Removal(),
    unet=UNetPlan(plan=Plan(steps=12_000, learning_rate=1e-3, batch=16, warmup=200, sample_every=1000), guidance=2.0),
    one_step=OneStepPlan(
        plan=Plan(steps=12_000, learning_rate=5e-4, batch=12, warmup=200, sample_every=500),
        method=Distilling(guidance=2.0),
    ),
    controlnet=ControlNetPlan(
        distil=Plan(steps=8000, learning_rate=1e-3, batch=12, warmup=200, sample_every=500),
        one_step=Plan(steps=8000, learning_rate=5e-4, batch=12, warmup=200, sample_every=500),
        hint_channels=_CONTROL,
        method=Distilling(fresh=0.0, guidance=2.0),
    ),
    gan_finetune=GanPlan(plan=Plan(steps=1500, learning_rate=2e-4, batch=12, sample_every=500), critic_channels=32),
)
