"""What each sample starts from: its seed's noise, with the camera's colours where it keeps any."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from pipelines import colours as colour
from pipelines.noise import NoiseBank
from pipelines.recent import Recent
from pipelines.settings import Settings


class Enters(Protocol):
    """A backend, as far as it lets colours into noise."""

    def enter(self, entry: colour.ColourEntry, noise: Tensor, pictures: Tensor, strength: Tensor) -> Tensor: ...


class Start:
    """x_T on one device. ``channels`` of the latents; ``entry`` is on that device already."""

    def __init__(self, entry: colour.ColourEntry, *, channels: int, device: torch.device, dtype: torch.dtype) -> None:
        self._entry, self._channels, self._device, self._dtype = entry, channels, device, dtype
        self._bank = NoiseBank(device=device, dtype=dtype)
        self._strengths: Recent[tuple[float, ...], Tensor] = Recent(32)

    def retyped(self, dtype: torch.dtype) -> Start:
        """The same in another precision."""
        return Start(self._entry, channels=self._channels, device=self._device, dtype=dtype)

    def draw(self, settings: Settings, size: tuple[int, int]) -> None:
        """The noise of both seeds, so that it is there when it is needed. ``size``: (height, width) of the picture."""
        for seed in {settings.seed, settings.seed_b}:
            self._bank(seed, self._channels, size[0] // 8, size[1] // 8)

    def of(
        self, settings: Sequence[Settings], colours: Tensor | None, size: tuple[int, int], backend: Enters
    ) -> Sequence[Tensor]:
        """C×h×w of each sample. ``colours``: uint8 B×H/4×W/4×3."""
        noise = [self._bank.of(each, self._channels, size[0] // 8, size[1] // 8) for each in settings]
        if colours is None or not any(each.init_strength for each in settings):
            return noise
        return list(self.entered(torch.stack(noise), settings, colours, backend))

    def entered(self, noise: Tensor, settings: Sequence[Settings], colours: Tensor | None, backend: Enters) -> Tensor:
        """B×C×h×w with the colours of those that keep them."""
        if colours is None or not any(each.init_strength for each in settings):
            return noise
        strength = self._strength(tuple(each.init_strength for each in settings))
        pictures = colour.normalise(colours.to(self._device), self._dtype)
        return backend.enter(self._entry, noise, pictures, strength).to(noise.dtype)

    def _strength(self, numbers: tuple[float, ...]) -> Tensor:
        """Kept on the device: to bring them there makes the host wait for it."""
        make = functools.partial(torch.tensor, numbers, dtype=self._dtype, device=self._device)
        return self._strengths.get(numbers, make)
