"""The ControlNets of the models known by name, as diffusers configurations (``ControlNetModel``).

A ControlNet is the encoder of its U-Net with a mid block and an entry for the map (arXiv 2302.05543); it gives one
residual for each output of that encoder and one for the mid block. Where the U-Net has no mid block, diffusers adds
that last one to the last down output. Sizes are parameters, counted on the meta device by the tests.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from pipelines.unet import SD_TURBO, SDXS_512, SDXS_1024, Config

_FROM_UNET = (
    "in_channels",
    "block_out_channels",
    "layers_per_block",
    "down_block_types",
    "cross_attention_dim",
    "attention_head_dim",
    "transformer_layers_per_block",
    "use_linear_projection",
    "addition_embed_type",
    "addition_time_embed_dim",
    "projection_class_embeddings_input_dim",
)


def encoder_of(unet: Config) -> Config:
    """The ControlNet configuration that fits a U-Net's: its encoder, and the mid block that all of them have."""
    shared: dict[str, Any] = {key: unet[key] for key in _FROM_UNET if key in unet}
    return MappingProxyType({"_class_name": "ControlNetModel", **shared})


#: IDKiro/sdxs-512-dreamshaper-sketch, three stages and a mid block with attention: 186,551,440. Seven residuals.
SDXS_512_SKETCH = encoder_of(SDXS_512)

#: SD 2.1's, as in thibaud/controlnet-sd21-canny-diffusers and its siblings: 364,228,240. Thirteen residuals.
SD_TURBO_CONTROL = encoder_of(SD_TURBO)

#: What would fit SDXS-1024: 349,017,360.
SDXS_1024_CONTROL = encoder_of(SDXS_1024)
