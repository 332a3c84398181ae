"""The small teacher's phases in which U-Net, text encoder and ControlNet learn at once.

    L = w(t)·‖ŷ(x_t, t, c, s·m) − y‖²,  x_t = α_t·x₀ + σ_t·ε

m is the map, s the strength at which the ControlNet's residuals are added, drawn with the picture: at a lower s the
picture keeps fewer of the map's lines, and at 0 there is no map at all. ε is coupled with the picture's colours (see
``data.encoded``). The paper of ControlNet (arXiv 2302.05543) unlocks the U-Net's decoder for small data alike.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipelines.presets import Control, read_preset
from pipelines.training import fresh
from pipelines.training.answers import mean_square, together
from pipelines.training.coupled import words_of
from pipelines.training.data.encoded import Encoded
from pipelines.training.dice import Dice
from pipelines.training.model import Model, predict, residuals
from pipelines.training.phase import Batch, Weights
from pipelines.training.run import write_model
from pipelines.training.sampling import sample
from pipelines.training.stages.teacher_plan import HELD_OUT, LOOKED_AT, SHOWN, TeacherPlan, Together
from pipelines.training.stages.teacher_players import weight
from pipelines.training.tiles import tiles

PART = "controlnet"


class TogetherPhase:
    """``base``: the model directory it begins with; without a ControlNet there, one is begun from its U-Net."""

    rates: Mapping[str, float] = {}

    def __init__(self, settings: TeacherPlan, own: Together, base: Path, train: Encoded, held_out: Encoded) -> None:
        self.name, self.plan, self._crop = f"teacher/{own.name}", own.plan, own.crop
        self._settings, self._base, self._train, self._held_out = settings, base, train, held_out
        model = Model.load(base)
        kind = settings.kinds[0]
        if kind not in model.controlnets:
            torch.manual_seed(self.plan.seed)
            begun = fresh.controlnet(settings.networks, model.unet, settings.control_start)
            model = dataclasses.replace(model, controlnets={kind: begun})
        self._model, self._net = model, model.controlnets[kind]
        self._player = TogetherPlayer(model, self._net, min_snr=settings.min_snr, late=own.late)
        self.players: Mapping[str, nn.Module] = {"denoiser": self._player}
        self.averaged: Mapping[str, nn.Module] = {
            "unet": model.unet,
            "text_encoder": model.text_encoders[0],
            PART: self._net,
        }

    def to(self, device: Any) -> None:
        self._model.to(device)

    def fetch(self, position: int) -> Mapping[str, Any]:
        return self._train.at(position, seed=self.plan.seed, crop=self._crop)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """``denoising``: ‖ŷ − y‖² of held-out pictures with their maps, and ``without`` them."""
        count, errors = min(HELD_OUT, len(self._held_out)), []
        for start in range(0, count, LOOKED_AT):
            places = range(start, min(start + LOOKED_AT, count))
            batch = self._look(places)
            t = (torch.tensor(places) * 2 + 1) * self._model.diffusion.timesteps // (2 * count)
            bare = {**batch, "scale": torch.zeros_like(batch["scale"])}
            errors.append(torch.stack([self._player.errors(each, t.to(self._device)) for each in (batch, bare)], 1))
        return dict(zip(("denoising", "without"), torch.cat(errors).double().mean(0).tolist(), strict=True))

    @torch.no_grad()
    def picture(self) -> NDArray[np.uint8]:
        """Held-out pictures, their maps, and below what is painted from those, the captions and their noise."""
        count = min(SHOWN, len(self._held_out))
        batch = self._look([place * (len(self._held_out) - 1) // max(count - 1, 1) for place in range(count)])
        latents = sample(
            self._model,
            batch["noise"],
            batch["prompt"],
            steps=self._settings.shown_steps,
            control=self._settings.kinds[0],
            maps=batch["map"],
            scale=batch["scale"],
        )
        return tiles([self._model.decode(batch["latents"]), 2 * batch["map"] - 1, self._model.decode(latents)])

    def export(self, folder: Path, weights: Mapping[str, Weights]) -> None:
        preset, kinds = read_preset(self._base), self._settings.kinds
        preset = dataclasses.replace(
            preset,
            controls=tuple(Control(kind=kind, folder=PART, polarity="white on black") for kind in kinds),
            defaults=preset.defaults.replace(control=kinds[0]),
        )
        modules = self.averaged
        write_model(self._base, folder, {name: (modules[name], weights[name]) for name in modules}, preset=preset)

    def _look(self, places: Sequence[int]) -> dict[str, Any]:
        return together([self._held_out[place] for place in places], self._device)

    @property
    def _device(self) -> torch.device:
        device: torch.device = next(self._model.vae.parameters()).device
        return device


class TogetherPlayer(nn.Module):
    """U-Net, text encoder and ControlNet."""

    def __init__(self, model: Model, controlnet: Any, *, min_snr: float, late: float = 1.0) -> None:
        super().__init__()
        self.unet, self.text_encoder, self.controlnet = model.unet, model.text_encoders[0], controlnet
        self._tokenizers, self._diffusion = model.tokenizers, model.diffusion
        self._min_snr, self._late = min_snr, late

    def forward(self, batch: Batch, dice: Dice) -> dict[str, Tensor]:
        count = self._diffusion.timesteps
        t = (count * dice.uniform() ** (1 / self._late)).long().clamp(max=count - 1)
        errors = self.errors(batch, t)
        weights = weight(self._diffusion, t, errors, self._min_snr)
        return {"loss": (weights * errors).mean(), "denoising": errors.mean()}

    def errors(self, batch: Batch, t: Tensor) -> Tensor:
        """‖ŷ − y‖², B, at the timesteps t."""
        latents, noise = batch["latents"], batch["noise"]
        noisy, target = self._diffusion.add_noise(latents, noise, t), self._diffusion.target(latents, noise, t)
        words = words_of([self.text_encoder], self._tokenizers, batch)
        added = residuals(self.controlnet, noisy, t, words, batch["map"], batch["scale"])
        return mean_square(predict(self.unet, noisy, t, words, added), target)
