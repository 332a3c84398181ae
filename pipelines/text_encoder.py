"""The text encoders of the models known by name, as transformers configurations. Sizes are parameters."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from pipelines.unet import Config


def _clip(width: int, layers: int, heads: int, *, projection: int, **more: Any) -> Config:
    return MappingProxyType(
        {
            "architectures": ["CLIPTextModelWithProjection" if more.pop("projected", False) else "CLIPTextModel"],
            "hidden_size": width,
            "intermediate_size": 4 * width,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "projection_dim": projection,
            **more,
        }
    )


#: CLIP ViT-L/14's, of SD 1.x and the first of SDXL: 123,060,480; embeddings 77×768.
CLIP_L = _clip(768, 12, 12, projection=768)

#: OpenCLIP ViT-H/14's without its last layer, of SD 2.x: 340,387,840; embeddings 77×1024.
OPENCLIP_H = _clip(1024, 23, 16, projection=512, hidden_act="gelu")

#: OpenCLIP ViT-bigG/14's, the second of SDXL: 694,659,840; embeddings 77×1280 and a pooled one of 1280.
OPENCLIP_BIG_G = _clip(1280, 32, 20, projection=1280, hidden_act="gelu", projected=True)
