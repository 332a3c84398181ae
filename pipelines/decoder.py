"""The decoders of the models known by name, as diffusers configurations. Sizes are parameters, encoder included."""

from __future__ import annotations

from types import MappingProxyType

from pipelines.unet import Config

#: TAESD's layout (``AutoencoderTiny``), the folder ``vae`` of the SDXS models: 2,445,063, half of it the decoder.
TINY: Config = MappingProxyType({"_class_name": "AutoencoderTiny", "latent_channels": 4})

#: Stable Diffusion's KL autoencoder, the folder ``vae_large`` of the SDXS models and SD-Turbo's decoder: 83,653,863.
LARGE: Config = MappingProxyType(
    {
        "_class_name": "AutoencoderKL",
        "sample_size": 512,
        "latent_channels": 4,
        "block_out_channels": (128, 256, 512, 512),
        "layers_per_block": 2,
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "scaling_factor": 0.18215,
    }
)
