"""What the recipes for Stable Diffusion's teachers share.

From the paper (SDXS, arXiv 2403.16627): the order of the stages, what is removed, batches of 1,024 to 2,048. It gives
neither learning rates nor steps nor weights; those here are ours, rates as are usual for fine-tuning such networks with
AdamW at such batches. Nobody has run these recipes to their end yet: ``--dry-run`` says what that would take.
"""

from __future__ import annotations

from pipelines.training.data.samples import SamplesPlan
from pipelines.training.one_step_players import Distilling
from pipelines.training.phase import Plan
from pipelines.training.recipe import Recipe
from pipelines.training.removal import Removal
from pipelines.training.stages.controlnet import ControlNetPlan
from pipelines.training.stages.decoder import DecoderPlan
from pipelines.training.stages.gan_finetune import GanPlan
from pipelines.training.stages.one_step import OneStepPlan
from pipelines.training.stages.unet import UNetPlan


def full_size(
    *,
    name: str,
    about: str,
    side: int,
    teacher: str,
    controlnet: str,
    removal: Removal,
    guidance: float,
    batch: int,
    micro_batch: int,
    gradient_checkpointing: bool,
) -> Recipe:
    """A recipe for square pictures of ``side`` pixels. ``batch`` and ``micro_batch``: of the stages that train a U-Net
    or a ControlNet. ``guidance``: of the teacher, in its samples and in its score. Data are prompts: ``--data``."""

    def plan(steps: int, rate: float, batch: int = batch, micro: int = micro_batch, ema: float = 0.9995) -> Plan:
        return Plan(
            steps=steps,
            learning_rate=rate,
            batch=batch,
            micro_batch=micro,
            warmup=500,
            ema=ema,
            gradient_checkpointing=gradient_checkpointing,
            validate_every=1000,
            sample_every=1000,
            checkpoint_minutes=30,
            workers=4,
        )

    method = Distilling(guidance=guidance)
    return Recipe(
        name=name,
        about=about,
        size=(side, side),
        data="",
        teacher=teacher,
        teacher_controlnets=(f"canny={controlnet}",),
        samples=SamplesPlan(count=200_000, held_out=512, steps=25, guidance=guidance, batch=16, precision="bf16"),
        removal=removal,
        decoder=DecoderPlan(plan=plan(40_000, 2e-4, batch=64, micro=8)),
        unet=UNetPlan(plan=plan(30_000, 5e-5)),
        one_step=OneStepPlan(plan=plan(10_000, 1e-5), method=method),
        controlnet=ControlNetPlan(
            distil=plan(10_000, 5e-5),
            one_step=plan(5_000, 1e-5),
            method=Distilling(guidance=guidance, fresh=0.0),
        ),
        gan_finetune=GanPlan(plan=plan(1_000, 1e-4, batch=256, ema=0.99)),  # usual for a LoRA of so low a rank
    )
