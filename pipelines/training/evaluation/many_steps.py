"""A multi-step teacher behind the pipeline's call, so that it is measured by what measures its one-step student."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from pipelines import colours as colour
from pipelines.device import pick_device
from pipelines.errors import TrainingError
from pipelines.noise import NoiseBank
from pipelines.settings import Kind, Settings
from pipelines.training.model import FACTOR, Model
from pipelines.training.sampling import sample


class ManySteps:
    """DPM-Solver++ from the noise that the live pipeline would start from: its seeds, and the camera's colours in it.

    One prompt, one seed and one control a picture: blends and LoRAs are not followed.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        steps: int,
        guidance: float = 1.0,
        device: str = "auto",
        controlnets: Sequence[str] = (),
    ) -> None:
        """``steps`` and ``guidance``: see ``training.sampling``. Raises what ``Model.load`` does."""
        self.device = pick_device(device)
        self._model = Model.load(model, controlnets=controlnets)
        self._model.to(self.device)
        assert self._model.preset is not None  # a loaded model has one
        self.preset = self._model.preset
        self.name, self.size = self.preset.name, self.preset.size
        self.controls: tuple[Kind, ...] = tuple(each.kind for each in self.preset.controls)
        self._steps, self._guidance = steps, guidance
        self._noise = NoiseBank(device=self.device, dtype=torch.float32)
        self._enter = colour.ColourEntry(colour.ColourEncoder(self._model.vae))

    @torch.no_grad()
    def __call__(
        self, condition_maps: Tensor, settings: Sequence[Settings], *, colours: Tensor | None = None
    ) -> Tensor:
        """As ``SDXSPipeline``'s. Raises TrainingError for more than one control."""
        kinds = settings[0].kinds
        if len(kinds) > 1:
            raise TrainingError("Many steps follow one control; ask for one.")
        latents = sample(
            self._model,
            self._start(settings, colours, condition_maps.shape[-2:]),
            [each.prompt for each in settings],
            steps=self._steps,
            guidance=self._guidance,
            control=kinds[0] if kinds else None,
            maps=condition_maps[:, 0].to(self.device) if kinds else None,
            scale=torch.tensor([each.conditioning_scale for each in settings], device=self.device),
        )
        return self._model.decode(latents).add(1).div(2).clamp(0, 1)

    def _start(self, settings: Sequence[Settings], colours: Tensor | None, size: Sequence[int]) -> Tensor:
        """B×C×h×w."""
        channels = self._model.latent_shape(*size)[0]
        noise = torch.stack([self._noise.of(each, channels, size[0] // FACTOR, size[1] // FACTOR) for each in settings])
        if colours is None:
            return noise
        strength = torch.tensor([each.init_strength for each in settings], device=self.device)
        small = colour.normalise(colours.to(self.device), torch.float32)
        entered: Tensor = self._enter(noise, small, strength)
        return entered
