"""The teacher's later phases: U-Net and text encoder, then a ControlNet."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import default_collate

from pipelines.condition import DRAWN
from pipelines.errors import TrainingError
from pipelines.presets import Control, read_preset
from pipelines.settings import Kind
from pipelines.training import fresh
from pipelines.training.data.dataset import Dataset
from pipelines.training.data.maps import draw_map
from pipelines.training.data.order import index_at
from pipelines.training.data.tensor import tensor_of
from pipelines.training.dice import Dice
from pipelines.training.model import Model
from pipelines.training.phase import Plan, Weights
from pipelines.training.run import write_model
from pipelines.training.sampling import sample
from pipelines.training.stages.teacher_plan import HELD_OUT, LOOKED_AT, SHOWN, TeacherPlan
from pipelines.training.stages.teacher_players import (
    ControlNetPlayer,
    DiffusionPlayer,
)
from pipelines.training.tiles import tiles


class _Denoising:
    """What both phases share that denoise the pictures' latents. ``kind``: of the map beside each, if any."""

    rates: Mapping[str, float] = {}
    kind = ""

    def __init__(self, settings: TeacherPlan, plan: Plan, base: Path, train: Dataset, held_out: Dataset) -> None:
        self.plan, self._settings, self._base = plan, settings, base
        self._train, self._held_out = train, held_out
        self._model = Model.load(base)

    def to(self, device: Any) -> None:
        self._model.to(device)

    def fetch(self, position: int) -> Mapping[str, Any]:
        index = index_at(position, len(self._train), self.plan.seed)
        return self._take(self._train, index, np.random.default_rng((self.plan.seed, position)))

    def _take(self, data: Dataset, index: int, rng: np.random.Generator) -> dict[str, Any]:
        picture, prompt = data.sample(index)
        taken = {"picture": tensor_of(picture), "prompt": prompt}
        if self.kind:
            taken["map"] = torch.from_numpy(draw_map(self.kind, picture, rng))
        return taken

    def _held(self, places: Sequence[int]) -> dict[str, Any]:
        taken = [self._take(self._held_out, place, np.random.default_rng(place)) for place in places]
        batch = default_collate(taken)
        return {key: value.to(self._device) if isinstance(value, Tensor) else value for key, value in batch.items()}

    def _mean_errors(self, player: DiffusionPlayer | ControlNetPlayer, names: Sequence[str]) -> dict[str, float]:
        """Of held-out pictures, at noise and timesteps that stay the same and are spread over all of them."""
        count, errors = min(HELD_OUT, len(self._held_out)), []
        for start in range(0, count, LOOKED_AT):
            places = range(start, min(start + LOOKED_AT, count))
            t = (torch.tensor(places) * 2 + 1) * self._model.diffusion.timesteps // (2 * count)
            dice = Dice(0, 0, places, device=str(self._device))
            found = player.errors(self._held(places), dice, t.to(self._device), all_ways=True)
            errors.append(torch.stack(found, 1).double())
        return dict(zip(names, torch.cat(errors).mean(0).tolist(), strict=True))

    def _shown(self, model: Model, batch: Mapping[str, Any]) -> Tensor:
        """Pictures of the same prompts, and maps, from fixed noise."""
        shape = model.latent_shape(*batch["picture"].shape[-2:])
        latents = sample(
            model,
            Dice(0, 0, range(len(batch["prompt"])), device=str(self._device)).normal(*shape),
            batch["prompt"],
            steps=self._settings.shown_steps,
            guidance=self._settings.shown_guidance,
            control=self.kind or None,
            maps=batch.get("map"),
        )
        return model.decode(latents)

    @property
    def _device(self) -> torch.device:
        device: torch.device = next(self._model.vae.parameters()).device
        return device


class DiffusionPhase(_Denoising):
    """U-Net and text encoder. ``base``: the directory that the autoencoder was written to."""

    name = "teacher/diffusion"

    def __init__(self, settings: TeacherPlan, base: Path, train: Dataset, held_out: Dataset) -> None:
        super().__init__(settings, _said(settings.diffusion), base, train, held_out)
        self._player = DiffusionPlayer(self._model, drop_prompts=settings.drop_prompts, min_snr=settings.min_snr)
        self.players: Mapping[str, nn.Module] = {"denoiser": self._player}
        self.averaged: Mapping[str, nn.Module] = {
            "unet": self._model.unet,
            "text_encoder": self._model.text_encoders[0],
        }

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """``denoising``: ‖ŷ − y‖² of held-out pictures."""
        return self._mean_errors(self._player, ["denoising"])

    @torch.no_grad()
    def picture(self) -> NDArray[np.uint8]:
        """Held-out pictures, and below what is painted for their captions."""
        batch = self._held(range(min(SHOWN, len(self._held_out))))
        return tiles([batch["picture"], self._shown(self._model, batch)])

    def export(self, folder: Path, weights: Mapping[str, Weights]) -> None:
        modules = self.averaged
        write_model(self._base, folder, {name: (modules[name], weights[name]) for name in modules})


class ControlNetPhase(_Denoising):
    """A ControlNet of one kind for the frozen U-Net. ``base``: the model it joins; ``part``: its folder there, and the
    phase's name."""

    def __init__(
        self, settings: TeacherPlan, kind: Kind, base: Path, train: Dataset, held_out: Dataset, *, part: str
    ) -> None:
        super().__init__(settings, _said(settings.controlnet), base, train, held_out)
        self.name, self.kind, self._part = f"teacher/{part}", kind, part
        torch.manual_seed(self.plan.seed)
        self._net = fresh.controlnet(settings.networks, self._model.unet, settings.control_start)
        self._model = dataclasses.replace(self._model, controlnets={kind: self._net})
        self._player = ControlNetPlayer(
            self._model, self._net, drop_prompts=settings.drop_prompts, min_snr=settings.min_snr
        )
        self.players: Mapping[str, nn.Module] = {"controlnet": self._player}
        self.averaged: Mapping[str, nn.Module] = {"controlnet": self._net}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """``denoising``: ‖ŷ − y‖² of held-out pictures with their maps, and ``without`` them."""
        return self._mean_errors(self._player, ["denoising", "without"])

    @torch.no_grad()
    def picture(self) -> NDArray[np.uint8]:
        """Held-out pictures, their maps, and below what is painted from those and the captions."""
        batch = self._held(range(min(SHOWN, len(self._held_out))))
        return tiles([batch["picture"], 2 * batch["map"] - 1, self._shown(self._model, batch)])

    def export(self, folder: Path, weights: Mapping[str, Weights]) -> None:
        preset = read_preset(self._base)
        control = Control(kind=cast(Kind, self.kind), folder=self._part, polarity=DRAWN[self.kind])
        first = (preset.controls or (control,))[0].kind
        preset = dataclasses.replace(
            preset, controls=(*preset.controls, control), defaults=preset.defaults.replace(control=first)
        )
        write_model(self._base, folder, {self._part: (self._net, weights["controlnet"])}, preset=preset)


def _said(plan: Plan | None) -> Plan:
    if plan is None:
        raise TrainingError("The recipe doesn't say how its teacher's U-Net and ControlNet are trained.")
    return plan
