"""A streamer keeps their colours: the camera's own enter the starting noise.

What a diffusion model makes of its noise is decided coarsely by the noise's low frequencies: layout and colour. So the
low band of x_T is exchanged for that of the camera picture's latents, and the fine rest is left as it is (the split of
FreeInit, arXiv 2312.07537, section 3.3, in space only). The band keeps the variance that it has in noise, for which the
model was trained.

A model that was trained with an ``AutoencoderSubpixel`` takes the colours latent by latent (``pipelines.training``,
``data.encoded``): its encoder costs nothing, so the small picture is enlarged and encoded whole, and x_T goes from the
noise straight to these latents.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: The low band: what is left when this many latent pixels, each way, are averaged. The camera picture comes shrunk by
#: the same factor, so that its latents are this band, at a sixteenth of the cost.
BAND = 4


class ColourEncoder(nn.Module):
    """Small camera pictures to the low band of their latents, or with a sub-pixel autoencoder to all of them; the
    encoder is the model's own autoencoder's."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.encoder = vae.encoder
        self.quant_conv = getattr(vae, "quant_conv", None)
        #: Latent pixels, each way, that a number of the colours stands for.
        self.band = 1 if type(vae).__name__ == "AutoencoderSubpixel" else BAND
        self.tiny = self.quant_conv is None and (self.band == 1 or type(vae).__name__ == "AutoencoderTiny")
        self.scaling_factor = float(vae.config.scaling_factor)
        self.shift_factor = float(getattr(vae.config, "shift_factor", None) or 0.0)

    def extra_repr(self) -> str:
        """Models converted from this are kept by what it says of itself."""
        return f"band={self.band}"

    def forward(self, pictures: Tensor) -> Tensor:
        """``pictures``: B×3×H/4×W/4 in [-1, 1]. Returns B×C×h/band×w/band, scaled as the diffusion model's latents."""
        if self.band < BAND:
            pictures = F.interpolate(pictures, scale_factor=BAND / self.band, mode="bilinear", align_corners=False)
        latents = self.encoder(pictures)
        if self.quant_conv is not None:
            latents = self.quant_conv(latents)
        if not self.tiny:
            latents = latents.chunk(2, dim=1)[0]  # the mean of the posterior; its variance follows
        return (latents - self.shift_factor) * self.scaling_factor


class ColourEntry(nn.Module):
    """Noise to noise with the colours of camera pictures."""

    def __init__(self, encoder: ColourEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, noise: Tensor, pictures: Tensor, strength: Tensor) -> Tensor:
        """``noise``: B×C×h×w. ``pictures``: B×3×H/4×W/4 in [-1, 1]. ``strength``: B, 0..1. Returns x_T, B×C×h×w."""
        return enter(noise, self.encoder(pictures), strength, band=self.encoder.band)


def enter(noise: Tensor, colours: Tensor, strength: Tensor, *, band: int = BAND) -> Tensor:
    """x_T with ``strength`` (B, 0..1) of its low band exchanged for ``colours`` (B×C×h/band×w/band), both B×C×h×w."""
    if band == 1:
        return torch.lerp(noise, colours, strength.view(-1, 1, 1, 1))
    own = F.avg_pool2d(noise, band)
    # Averages of band² independent normals have a deviation of 1/band.
    exchange = F.interpolate(colours / band - own, scale_factor=band, mode="bilinear", align_corners=False)
    return noise + strength.view(-1, 1, 1, 1) * exchange


def normalise(colours: Tensor, dtype: torch.dtype) -> Tensor:
    """uint8 B×h×w×3 to B×3×h×w in [-1, 1]."""
    return colours.to(dtype).div(127.5).sub(1).permute(0, 3, 1, 2)
