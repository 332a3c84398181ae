"""``embedded``: the model that ships, from free pictures and drawn styles. See its card for what was measured.

U-Net and ControlNet learn together throughout, on latents made once (``data.encoded``): in a model this small, a U-Net
that was frozen before could hardly be led by its ControlNet.
"""

from __future__ import annotations

import dataclasses

from pipelines.training.data.encoded import EncodedPlan
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
from pipelines.training.stages.one_step_together import PairPart
from pipelines.training.stages.teacher_plan import Reading, TeacherPlan, Together
from pipelines.training.stages.unet import UNetPlan

#: Just enough for 8×8 pixels of a map to pass whole.
_CONTROL = (4, 8, 16, 64)

#: Every noise has its picture in the data: none is drawn afresh. Score distillation has a phase of its own.
_LATENTS = Distilling(warmup=1.0, matching=(1.0, 1.0), feature_window=3, fresh=0.0, regression=4.0, reads=True)
#: Where pictures are compared, features would tell no more, at half of a step's time. Latents count less: their mean
#: square gives the faint components, which nobody sees, too much of it, and leaves flats mottled by the noise.
_PIXELS = dataclasses.replace(_LATENTS, pixels=4.0, slopes=2.0, regression=1.0, matched=False)
#: Share of depth maps beside the eighth that the data have: what a jump of depth is takes longer to learn than a line.
_DEPTHS = 0.2

_TEACHER = TeacherPlan(
    networks=Networks(
        latent_channels=32,
        autoencoder_channels=64,
        decoder_blocks=(3, 0, 1, 0),
        subpixel=True,
        channels=(80, 96, 112, 112),
        control_channels=_CONTROL,
        text_width=64,
        text_layers=2,
        text_length=32,
        vocabulary=4096,
        pooled_text=True,
        whole_maps=True,
        highest_transformers=False,
    ),
    autoencoder=Plan(steps=100, learning_rate=1e-3, batch=16, warmup=20, ema=0.98, workers=1, sample_every=50),
    lines=Plan(steps=600, learning_rate=1e-3, batch=16, warmup=20, ema=0.99, workers=1, sample_every=200),
    together=(
        Together(
            name="small",
            plan=Plan(steps=600, learning_rate=1.5e-3, batch=32, warmup=100, ema=0.997, sample_every=250),
            crop=16,
        ),
        Reading(
            name="words",
            plan=Plan(steps=1500, learning_rate=2e-3, batch=128, warmup=50, ema=0.99),
        ),
        Together(
            name="late",
            plan=Plan(steps=300, learning_rate=1.2e-3, batch=32, warmup=50, ema=0.997, sample_every=250),
            crop=16,
            late=3.0,
        ),
        Together(name="whole", plan=Plan(steps=40, learning_rate=4e-4, batch=16, warmup=20, ema=0.98, sample_every=75)),
    ),
    kinds=("canny", "sketch", "depth"),
    crop=64,
    crops=2,
    control_start=0.05,
    shown_steps=12,
    shown_guidance=1.0,
)

RECIPE = Recipe(
    name="embedded",
    about="The model that ships (256×256, canny, sketch, depth; 12 styles), of free pictures: 2.5 hours on two cores.",
    size=(256, 256),
    data="drawn",
    teacher_plan=_TEACHER,
    encoded=EncodedPlan(count=20_000, held_out=256),
    samples=SamplesPlan(count=1024, held_out=64, steps=12, guidance=1.0, batch=16),
    decoder=DecoderPlan(
        plan=Plan(steps=4000, learning_rate=1e-3, batch=16, warmup=50, ema=0.997, sample_every=1000),
        channels=64,
        blocks=(3, 0, 1, 0),
        critic_channels=32,
        adversarial=0.02,
        adversarial_from=0.7,
        pixels=1.0,
        slopes=1.0,
        encoded=True,
        crop=8,
    ),
    removal=Removal(),
    unet=UNetPlan(
        plan=Plan(steps=200, learning_rate=1e-3, batch=32, warmup=50, ema=0.99, sample_every=125),
        together=True,
        crop=16,
    ),
    one_step=OneStepPlan(
        together=(
            PairPart(
                name="small",
                plan=Plan(steps=1500, learning_rate=1.5e-3, batch=32, warmup=100, ema=0.997, sample_every=250),
                method=_LATENTS,
                crop=16,
            ),
            PairPart(
                name="score",
                plan=Plan(steps=30, learning_rate=2e-4, batch=16, warmup=20, ema=0.98, sample_every=50),
                method=dataclasses.replace(_LATENTS, warmup=0.4),
                crop=16,
            ),
            PairPart(
                name="more",
                plan=Plan(steps=2000, learning_rate=1e-3, batch=32, warmup=50, ema=0.998, sample_every=500),
                method=_LATENTS,
                crop=16,
                depths=_DEPTHS,
            ),
            PairPart(
                name="pixels",
                plan=Plan(steps=1200, learning_rate=8e-4, batch=32, warmup=30, ema=0.997, sample_every=300),
                method=_PIXELS,
                crop=16,
                depths=_DEPTHS,
            ),
            PairPart(
                name="between",
                plan=Plan(steps=900, learning_rate=8e-4, batch=32, warmup=20, ema=0.995, sample_every=300),
                method=_PIXELS,
                crop=16,
                depths=0.1,
                between=0.6,
            ),
            PairPart(
                name="whole",
                plan=Plan(steps=220, learning_rate=4e-4, batch=16, warmup=20, ema=0.99, sample_every=100),
                method=_PIXELS,
                depths=_DEPTHS,
                between=0.2,
            ),
        ),
    ),
    controlnet=ControlNetPlan(
        distil=None,
        one_step=Plan(steps=30, learning_rate=1e-4, batch=16, warmup=10, ema=0.98, sample_every=25),
        method=_LATENTS,
        encoded=True,
    ),
    gan_finetune=GanPlan(plan=Plan(steps=1500, learning_rate=2e-4, batch=12, sample_every=500), critic_channels=32),
)
