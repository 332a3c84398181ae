"""SD 1.5 → SDXS-512 on CLIP-L, the layout that was published as sdxs-512-dreamshaper."""

from pipelines.training.recipes.full_size import full_size
from pipelines.training.removal import TO_SDXS_512

RECIPE = full_size(
    name="sd15-512",
    about="Stable Diffusion 1.5 becomes SDXS-512 (315.7 M) with a canny ControlNet.",
    side=512,
    teacher="stable-diffusion-v1-5/stable-diffusion-v1-5",
    controlnet="lllyasviel/control_v11p_sd15_canny",
    removal=TO_SDXS_512,
    guidance=7.5,
    batch=1024,
    micro_batch=8,
    gradient_checkpointing=False,
)
