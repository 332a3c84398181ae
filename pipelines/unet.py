"""The U-Nets of the models known by name, as diffusers configurations (``UNet2DConditionModel``).

What stands here counts, checks and builds a model whose weights are elsewhere or were never released; a model that is
here is built from its own ``config.json``. Sizes are parameters, counted on the meta device by the tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

Config = Mapping[str, Any]

_SDXS_DOWN = ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D")
_SDXS_UP = ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D")


def _unet(**config: Any) -> Config:
    return MappingProxyType({"_class_name": "UNet2DConditionModel", "in_channels": 4, "out_channels": 4, **config})


#: SDXS-512 on SD 1.5's text encoder, as in IDKiro/sdxs-512-dreamshaper: 315,746,244. Of the teacher's U-Net the mid
#: stage, the last down and the first up stage and the transformers at the highest resolution were removed, and one of
#: the two layers of each stage (SDXS, arXiv 2403.16627, section 3.1).
SDXS_512 = _unet(
    sample_size=64,
    block_out_channels=(320, 640, 1280),
    layers_per_block=1,
    down_block_types=_SDXS_DOWN,
    mid_block_type=None,
    up_block_types=_SDXS_UP,
    cross_attention_dim=768,
    attention_head_dim=8,
)

#: The same on SD 2.1's text encoder, the base that the paper names: 318,695,364.
SDXS_512_CONTEXT_1024 = _unet(**{**SDXS_512, "cross_attention_dim": 1024})

#: SDXS-512-0.9, the older one, on SD 2.1's text encoder: 328,177,284. At the highest resolution it keeps transformers,
#: of one head of 320, in which cross-attention takes the place of self-attention. That and the published size of about
#: 328 M are its card's; the context width follows from the size (with 768 it would be 324.2 M). The number of heads at
#: the other resolutions is SD 2.1's, which no size tells: the published ``config.json`` has the last word on it.
SDXS_512_0_9 = _unet(
    **{
        **SDXS_512_CONTEXT_1024,
        "down_block_types": ("CrossAttnDownBlock2D",) * 3,
        "up_block_types": ("CrossAttnUpBlock2D",) * 3,
        "only_cross_attention": (True, False, False),
        "attention_head_dim": (1, 10, 20),
    }
)

#: SD 1.5's, from which SDXS-512 is cut: 859,520,964.
SD_15 = _unet(sample_size=64, cross_attention_dim=768, attention_head_dim=8)

#: SD 2.1's, which stabilityai/sd-turbo is a distillation of: 865,910,724.
SD_TURBO = _unet(
    sample_size=64,
    cross_attention_dim=1024,
    attention_head_dim=(5, 10, 20, 20),
    use_linear_projection=True,
)

#: SDXL's (arXiv 2307.01952, table 1), from which SDXS-1024 is cut: 2,567,463,684.
SDXL = _unet(
    sample_size=128,
    block_out_channels=(320, 640, 1280),
    layers_per_block=2,
    down_block_types=_SDXS_DOWN,
    up_block_types=_SDXS_UP,
    transformer_layers_per_block=(1, 2, 10),
    attention_head_dim=(5, 10, 20),
    cross_attention_dim=2048,
    use_linear_projection=True,
    addition_embed_type="text_time",
    addition_time_embed_dim=256,
    projection_class_embeddings_input_dim=2816,
)

#: SDXS-1024: 744,114,244. The paper gives 0.74 B, cut from SDXL by block removal "most transformer blocks" among them,
#: and neither weights nor a configuration were released. This is the removal that arrives at that size with the fewest
#: changes: one layer a stage instead of two, and three transformer blocks instead of ten at the lowest resolution.
SDXS_1024 = _unet(**{**SDXL, "layers_per_block": 1, "transformer_layers_per_block": (1, 2, 3)})
