"""The starting noise x_T: a function of seeds and size alone, so that a still picture stays still."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor

from pipelines.settings import Settings
from pipelines.travel import slerp


class NoiseBank:
    """Noise by seed, drawn once. The CPU generator gives the same numbers on every machine, as diffusers draws them."""

    def __init__(self, *, device: torch.device, dtype: torch.dtype, remember: int = 64) -> None:
        self._device = device
        self._dtype = dtype
        self._remember = remember
        self._cache: OrderedDict[tuple[int, int, int, int], Tensor] = OrderedDict()

    def __call__(self, seed: int, channels: int, height: int, width: int) -> Tensor:
        """Standard normal, C×h×w in latent pixels."""
        key = (seed, channels, height, width)
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        generator = torch.Generator("cpu").manual_seed(seed)
        # The batch axis is diffusers' own: the order in which the numbers are drawn is the same.
        noise = torch.randn((1, channels, height, width), generator=generator)[0]
        self._cache[key] = noise.to(self._device, self._dtype)
        if len(self._cache) > self._remember:
            self._cache.popitem(last=False)
        return self._cache[key]

    def of(self, settings: Settings, channels: int, height: int, width: int) -> Tensor:
        """What ``settings`` start from: the noise of ``seed``, ``seed_blend`` of the way to that of ``seed_b``."""
        noise = self(settings.seed, channels, height, width)
        if settings.seed_blend <= 0.0:
            return noise
        return slerp(noise, self(settings.seed_b, channels, height, width), settings.seed_blend, dim=(0, 1, 2))
