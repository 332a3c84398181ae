"""The starting noise x_T: a function of seeds and size alone, so that a still picture stays still."""

from __future__ import annotations

import torch
from torch import Tensor

from pipelines.recent import Recent
from pipelines.settings import Settings
from pipelines.travel import slerp


class NoiseBank:
    """Noise by seed, drawn once. The CPU generator gives the same numbers on every machine, as diffusers draws them."""

    def __init__(self, *, device: torch.device, dtype: torch.dtype, remember: int = 64) -> None:
        self._device = device
        self._dtype = dtype
        self._drawn: Recent[tuple[int, int, int, int], Tensor] = Recent(remember)
        self._between: Recent[tuple[object, ...], Tensor] = Recent(remember)

    def __call__(self, seed: int, channels: int, height: int, width: int) -> Tensor:
        """Standard normal, C×h×w in latent pixels. The same object each time, so it is not to be changed."""

        def draw() -> Tensor:
            generator = torch.Generator("cpu").manual_seed(seed)
            # The batch axis is diffusers' own: the order in which the numbers are drawn is the same.
            noise = torch.randn((1, channels, height, width), generator=generator)[0]
            return noise.to(self._device, self._dtype)

        return self._drawn.get((seed, channels, height, width), draw)

    def of(self, settings: Settings, channels: int, height: int, width: int) -> Tensor:
        """What ``settings`` start from: the noise of ``seed``, ``seed_blend`` of the way to that of ``seed_b``."""
        noise = self(settings.seed, channels, height, width)
        if settings.seed_blend <= 0.0:
            return noise
        other = self(settings.seed_b, channels, height, width)
        key = (settings.seed, settings.seed_b, settings.seed_blend, channels, height, width)
        return self._between.get(key, lambda: slerp(noise, other, settings.seed_blend, dim=(0, 1, 2)))
