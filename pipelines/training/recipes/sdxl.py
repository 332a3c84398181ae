"""SDXL → SDXS-1024, whose weights and configuration were never published: see ``pipelines.unet.SDXS_1024``."""

from pipelines.training.recipes.full_size import full_size
from pipelines.training.removal import TO_SDXS_1024

RECIPE = full_size(
    name="sdxl-1024",
    about="SDXL becomes SDXS-1024 (744.1 M) with a canny ControlNet; shard it (FSDP) over GPUs of 80 GB.",
    side=1024,
    teacher="stabilityai/stable-diffusion-xl-base-1.0",
    controlnet="diffusers/controlnet-canny-sdxl-1.0",
    removal=TO_SDXS_1024,
    guidance=6.0,
    batch=1024,
    micro_batch=1,
    gradient_checkpointing=True,
)
