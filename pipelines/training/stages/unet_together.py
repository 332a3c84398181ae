"""Stage ``unet`` of a recipe whose U-Net and ControlNet learn together: blocks are removed from both, and the pair that
is left learns to answer like the teacher's pair, by the same loss as ``stages.unet``, under each sample's own map."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipelines.training.answers import mean_square, together
from pipelines.training.coupled import words_of
from pipelines.training.data.encoded import Encoded
from pipelines.training.dice import Dice
from pipelines.training.features import distance, recorded, shared_blocks
from pipelines.training.model import Model, predict, residuals
from pipelines.training.phase import Batch, Weights
from pipelines.training.removal import Removal, student_of
from pipelines.training.run import write_model
from pipelines.training.sampling import sample
from pipelines.training.tiles import tiles

if TYPE_CHECKING:
    from pipelines.training.stages.unet import UNetPlan

#: Held-out samples: shown, looked at for the validation number, and that at once.
SHOWN, HELD_OUT, LOOKED_AT, STEPS = 4, 32, 8, 12


class UNetTogetherPhase:
    """``base``: the model directory that the pair enters; ``kind``: the teacher's ControlNet that is cut down too."""

    name = "unet"
    rates: Mapping[str, float] = {}

    def __init__(
        self,
        settings: UNetPlan,
        removal: Removal,
        teacher: Model,
        kind: str,
        base: Path,
        train: Encoded,
        held_out: Encoded,
    ) -> None:
        self.plan, self._crop, self._kind, self._base = settings.plan, settings.crop, kind, base
        self._train, self._held_out, self._teacher = train, held_out, teacher
        pair = student_of(teacher.unet, removal), student_of(teacher.controlnets[kind], removal)
        self._student = dataclasses.replace(teacher, unet=pair[0], controlnets={kind: pair[1]})
        self._player = PairDistiller(*pair, teacher, kind, settings.features)
        self.players: Mapping[str, nn.Module] = {"pair": self._player}
        self.averaged: Mapping[str, nn.Module] = {"unet": pair[0], "controlnet": pair[1]}

    def to(self, device: Any) -> None:
        self._teacher.to(device)

    def fetch(self, position: int) -> Mapping[str, Any]:
        return self._train.at(position, seed=self.plan.seed, crop=self._crop)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """``output_mse``: between the pairs' outputs on held-out samples, at timesteps that stay the same;
        ``features``: the other term."""
        sums = torch.zeros(2, dtype=torch.float64)
        count = min(HELD_OUT, len(self._held_out))
        for start in range(0, count, LOOKED_AT):
            places = range(start, min(start + LOOKED_AT, count))
            t = (torch.tensor(places) * 2 + 1) * self._teacher.diffusion.timesteps // (2 * count)
            found = self._player.distances(self._look(places), t.to(self._device))
            sums += torch.stack([each.sum() for each in found]).double().cpu()
        output_mse, features = (sums / count).tolist()
        return {"output_mse": output_mse, "features": features}

    @torch.no_grad()
    def picture(self) -> NDArray[np.uint8]:
        """What teacher and, below it, student make of the same noise and maps in many steps."""
        batch = self._look(range(0, len(self._held_out), max(1, len(self._held_out) // SHOWN))[:SHOWN])
        shown = {"control": self._kind, "maps": batch["map"], "scale": batch["scale"]}
        latents = [
            sample(model, batch["noise"], batch["prompt"], steps=STEPS, **shown)
            for model in (self._teacher, self._student)
        ]
        return tiles([self._teacher.decode(each) for each in latents])

    def export(self, folder: Path, weights: Mapping[str, Weights]) -> None:
        write_model(self._base, folder, {name: (self.averaged[name], weights[name]) for name in self.averaged})

    def _look(self, places: Sequence[int]) -> dict[str, Any]:
        return together([self._held_out[place] for place in places], self._device)

    @property
    def _device(self) -> torch.device:
        device: torch.device = next(self._teacher.vae.parameters()).device
        return device


class PairDistiller(nn.Module):
    """The small pair, told by the teacher's."""

    def __init__(self, unet: nn.Module, controlnet: nn.Module, teacher: Model, kind: str, features: float) -> None:
        super().__init__()
        self.unet, self.controlnet = unet, controlnet
        self._teacher, self._kind, self._weight = teacher, kind, features
        self._blocks = shared_blocks(teacher.unet, unet)

    def forward(self, batch: Batch, dice: Dice) -> dict[str, Tensor]:
        t = dice.integers(0, self._teacher.diffusion.timesteps)
        output, features = (each.mean() for each in self.distances(batch, t))
        return {"loss": output + self._weight * features, "output": output, "features": features}

    def distances(self, batch: Batch, t: Tensor) -> tuple[Tensor, Tensor]:
        """‖ε̂_θ − ε̂_φ‖² and the sum over features, each B."""
        teacher, theirs = self._teacher, [name for name, _ in self._blocks]
        noisy = teacher.diffusion.add_noise(batch["latents"], batch["noise"], t)
        with torch.no_grad():
            words = words_of(teacher.text_encoders, teacher.tokenizers, batch)
            added = teacher.control(self._kind, noisy, t, words, batch["map"], batch["scale"])
            with recorded(teacher.unet, theirs) as found:
                answer = predict(teacher.unet, noisy, t, words, added)
            wanted = [found[name] for name in theirs]
        added = residuals(self.controlnet, noisy, t, words, batch["map"], batch["scale"])
        with recorded(self.unet, [name for _, name in self._blocks]) as found:
            output = predict(self.unet, noisy, t, words, added)
        return mean_square(output, answer), distance([found[name] for _, name in self._blocks], wanted)
