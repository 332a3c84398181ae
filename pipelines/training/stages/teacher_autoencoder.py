"""The teacher's first phase: pictures to latents and back."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipelines.presets import Preset
from pipelines.subpixel import start_with_components
from pipelines.training import fresh
from pipelines.training.answers import mean_square
from pipelines.training.data.dataset import Dataset
from pipelines.training.data.order import index_at
from pipelines.training.data.tensor import tensor_of
from pipelines.training.phase import Weights
from pipelines.training.stages.teacher_plan import HELD_OUT, LOOKED_AT, SHOWN, TeacherPlan
from pipelines.training.stages.teacher_players import (
    AutoencoderPlayer,
    encode_raw,
)
from pipelines.training.tiles import tiles

#: Pictures that the latents' scale is measured on.
SCALED_BY = 256


class AutoencoderPhase:
    """``preset``: what the finished model says of itself. Latents come out at about unit variance: the configuration's
    ``scaling_factor`` is measured on the pictures. ``begun``: the model that the plan's ``lines`` go on with."""

    rates: Mapping[str, float] = {}

    def __init__(
        self,
        settings: TeacherPlan,
        tokenizer: Any,
        preset: Preset,
        train: Dataset,
        held_out: Dataset,
        *,
        begun: Path | None = None,
    ) -> None:
        self.name, self.plan = "teacher/autoencoder", settings.autoencoder
        self._settings, self._tokenizer, self._preset = settings, tokenizer, preset
        self._train, self._held_out = train, held_out
        self._kept: tuple[int, NDArray[np.uint8]] | None = None
        torch.manual_seed(self.plan.seed)
        self._vae = fresh.autoencoder(settings.networks)
        slopes, self._starts = 0.0, begun is None and settings.networks.subpixel
        if begun is not None and settings.lines is not None:
            self.name, self.plan, slopes = "teacher/lines", settings.lines, settings.slopes
            self._vae = type(self._vae).from_pretrained(begun / "vae")
        self.players: Mapping[str, nn.Module] = {
            "autoencoder": AutoencoderPlayer(
                self._vae, noise=settings.latent_noise, pull=settings.latent_pull, slopes=slopes
            )
        }
        self.averaged: Mapping[str, nn.Module] = {"vae": self._vae}

    def to(self, device: Any) -> None:
        if self._starts:  # not before: a finished phase is made as well, and drawing these pictures takes seconds
            shown = range(min(SCALED_BY, len(self._train)))
            start_with_components(self._vae, torch.stack([tensor_of(self._train.picture(each)) for each in shown]))
        self._vae.to(device)

    def fetch(self, position: int) -> Mapping[str, Any]:
        picture = self._picture(index_at(position // self._settings.crops, len(self._train), self.plan.seed))
        crop = self._settings.crop
        if crop and crop < min(picture.shape[:2]):
            rng = np.random.default_rng((self.plan.seed, position))
            top, left = (int(rng.integers(side - crop + 1)) for side in picture.shape[:2])
            picture = picture[top : top + crop, left : left + crop]
        return {"picture": tensor_of(picture)}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """``picture_l1``: between held-out pictures in [−1, 1] and what comes back; ``psnr`` in dB."""
        errors = []
        for pictures in self._held(HELD_OUT):
            again = self._again(pictures)
            errors.append(torch.stack([(again - pictures).abs().flatten(1).mean(1), mean_square(again, pictures)], 1))
        l1, square = torch.cat(errors).double().mean(0).tolist()
        return {"picture_l1": l1, "psnr": float(10 * np.log10(4 / max(square, 1e-12)))}

    @torch.no_grad()
    def picture(self) -> NDArray[np.uint8]:
        """Held-out pictures, and below what comes back."""
        pictures = next(self._held(SHOWN))
        return tiles([pictures, self._again(pictures)])

    def export(self, folder: Path, weights: Mapping[str, Weights]) -> None:
        vae = copy.deepcopy(self._vae).cpu()
        vae.load_state_dict(weights["vae"])
        vae.register_to_config(scaling_factor=self._scaling_factor(vae))
        fresh.save_fresh(
            folder,
            self._settings.networks,
            self._tokenizer,
            prediction=self._settings.prediction,
            preset=self._preset,
            vae=vae,
            seed=self.plan.seed,
        )

    def _picture(self, index: int) -> NDArray[np.uint8]:
        """Drawing one may take longer than learning from it, so the last is kept for its other crops."""
        if self._kept is None or self._kept[0] != index:
            self._kept = (index, self._train.sample(index)[0])
        return self._kept[1]

    def _again(self, pictures: Tensor) -> Tensor:
        again: Tensor = self._vae.decoder(encode_raw(self._vae, pictures)).clamp(-1, 1)
        return again

    def _held(self, count: int) -> Iterator[Tensor]:
        device = next(self._vae.parameters()).device
        for start in range(0, min(count, len(self._held_out)), LOOKED_AT):
            places = range(start, min(start + LOOKED_AT, count, len(self._held_out)))
            yield torch.stack([tensor_of(self._held_out.picture(place)) for place in places]).to(device)

    @torch.no_grad()
    def _scaling_factor(self, vae: Any) -> float:
        count = min(SCALED_BY, len(self._train))
        latents = [encode_raw(vae, tensor_of(self._train.picture(index))[None]) for index in range(count)]
        return 1 / max(float(torch.cat(latents).std()), 1e-3)
