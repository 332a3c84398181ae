"""The two phases of the stage ``controlnet``, for one kind of map."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipelines.condition import DRAWN
from pipelines.presets import Control, Preset, read_preset
from pipelines.settings import KINDS
from pipelines.training.answers import Triplets, latents_of, mean_square, together
from pipelines.training.control_error import control_error
from pipelines.training.control_players import ControlDistiller, ControlledStudent
from pipelines.training.data.maps import draw_map
from pipelines.training.data.order import index_at
from pipelines.training.data.samples import SamplesPlan, noise_of
from pipelines.training.dice import Dice
from pipelines.training.model import Model
from pipelines.training.one_step_players import Distillation, FakePlayer, shown_by
from pipelines.training.phase import Batch, Plan, Weights
from pipelines.training.run import write_model
from pipelines.training.sampling import sample
from pipelines.training.tiles import tiles

#: Held-out samples: shown, looked at for the validation numbers, and that at once.
SHOWN, HELD_OUT, LOOKED_AT = 4, 32, 8


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the ControlNet of one kind is kept: its ``folder`` in the model, and what its phases are called."""

    kind: str
    is_first: bool

    @property
    def folder(self) -> str:
        return "controlnet" if self.is_first else f"controlnet_{self.kind}"

    def phase(self, part: str) -> str:
        """``controlnet/PART``, of further kinds ``controlnet/PART-KIND``."""
        return f"controlnet/{part}" if self.is_first else f"controlnet/{part}-{self.kind}"


class _ControlPhase:
    """What both phases have in common: the ``student``'s ControlNet trains, and enters the model directory ``base``."""

    def __init__(
        self, part: str, plan: Plan, place: Place, student: Model, base: Path, train: Triplets, held_out: Triplets
    ) -> None:
        self.name, self.plan = place.phase(part), plan
        self._place, self._student, self._base = place, student, base
        self._control = student.controlnets[place.kind]
        self._train, self._held_out = train, held_out
        self.averaged: Mapping[str, nn.Module] = {"controlnet": self._control}

    def fetch(self, position: int) -> Mapping[str, Any]:
        sample = self._train[index_at(position, len(self._train), self.plan.seed)]
        return self._with_map(sample, np.random.default_rng((self.plan.seed, position)))

    def export(self, folder: Path, weights: Mapping[str, Weights]) -> None:
        parts = {self._place.folder: (self._control, weights["controlnet"])}
        write_model(self._base, folder, parts, preset=with_control(read_preset(self._base), self._place))

    @property
    def _device(self) -> torch.device:
        device: torch.device = next(self._control.parameters()).device
        return device

    def _with_map(self, sample: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        picture = ((sample["picture"] + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()
        drawn = torch.from_numpy(draw_map(self._place.kind, np.ascontiguousarray(picture), rng))
        found = {"prompt": sample["prompt"], "map": drawn}
        if "latents" in sample:
            return {**found, "noise": sample["noise"], "latents": sample["latents"]}
        shape = self._student.latent_shape(*picture.shape[:2])
        # Any will do, but there has to be one.
        return {**found, "noise": noise_of(int(rng.integers(1 << 31)), shape), "picture": sample["picture"]}

    def _look(self, places: Sequence[int]) -> dict[str, Any]:
        samples = [self._with_map(self._held_out[place], np.random.default_rng(place)) for place in places]
        return together(samples, self._device)

    def _looked_at(self) -> Iterator[range]:
        """The held-out samples that the validation numbers are taken of, some at a time."""
        count = min(HELD_OUT, len(self._held_out))
        for start in range(0, count, LOOKED_AT):
            yield range(start, min(start + LOOKED_AT, count))

    def _shown(self) -> dict[str, Any]:
        return self._look(range(min(SHOWN, len(self._held_out))))


class DistilPhase(_ControlPhase):
    """``student``: the small pair; ``sampling``: how the pictures of the grid are made, at ``guidance``."""

    rates: Mapping[str, float] = {}

    def __init__(
        self,
        plan: Plan,
        place: Place,
        student: Model,
        teacher: Model,
        player: ControlDistiller,
        base: Path,
        train: Triplets,
        held_out: Triplets,
        *,
        sampling: SamplesPlan,
        guidance: float,
    ) -> None:
        super().__init__("distil", plan, place, student, base, train, held_out)
        self._teacher, self._player = teacher, player
        self._sampling, self._guidance = sampling, guidance
        self.players: Mapping[str, nn.Module] = {"controlnet": player}

    def to(self, device: Any) -> None:
        self._student.to(device)
        self._teacher.to(device)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """``output_mse``: between the outputs under held-out maps, at noise and timesteps that stay the same, or, where
        the teacher has no ControlNet, to what was to be answered; ``features``: the other term."""
        sums, count = torch.zeros(2, dtype=torch.float64), min(HELD_OUT, len(self._held_out))
        for places in self._looked_at():
            batch, dice = self._look(places), Dice(0, 0, places, device=str(self._device))
            t = (torch.tensor(places) * 2 + 1) * self._teacher.diffusion.timesteps // (2 * count)
            output, features = self._player.distances(batch, dice, t.to(self._device), batch["prompt"])
            sums += torch.stack([output.sum(), features.sum()]).double().cpu()
        output_mse, features_mse = (sums / count).tolist()
        return {"output_mse": output_mse, "features": features_mse}

    @torch.no_grad()
    def picture(self) -> NDArray[np.uint8]:
        """Maps, what teacher and maps gave rise to them, and what the pair makes of them in many steps."""
        batch = self._shown()
        target = latents_of(self._teacher, batch)
        painted = sample(
            self._student,
            batch["noise"],
            batch["prompt"],
            steps=self._sampling.steps,
            guidance=self._guidance,
            control=self._place.kind,
            maps=batch["map"],
        )
        return tiles([2 * batch["map"] - 1, self._teacher.decode(target), self._teacher.decode(painted)])


class OneStepPhase(_ControlPhase):
    """``shared``: the student, whose one-step U-Net stays as it is, and the scores; ``replaced``: see the players."""

    def __init__(
        self,
        plan: Plan,
        place: Place,
        shared: Distillation,
        base: Path,
        train: Triplets,
        held_out: Triplets,
        *,
        replaced: float,
    ) -> None:
        super().__init__("one-step", plan, place, shared.student, base, train, held_out)
        self._shared = shared
        self.rates = {"fake": shared.settings.fake_rate}
        self.players: Mapping[str, nn.Module] = {
            "controlnet": ControlledStudent(shared, replaced=replaced),
            "fake": FakePlayer(shared),
        }

    def to(self, device: Any) -> None:
        self._shared.to(device)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """``control_error``: of what is painted from fresh noise under held-out maps (see ``control_error``);
        ``mean_square``: of the latents to the teacher's, from the teacher's noise."""
        maps: list[NDArray[np.float32]] = []
        pictures: list[NDArray[np.uint8]] = []
        squares: list[float] = []
        for places in self._looked_at():
            batch = self._look(places)
            painted = self._paint(self._fresh(batch, places), batch)
            pictures += list(_pictures(self._shared.student.decode(painted)))
            maps += list(batch["map"].cpu().numpy())
            squares += mean_square(self._paint(batch["noise"], batch), self._target(batch)).tolist()
        return {
            "control_error": control_error(self._place.kind, maps, pictures),
            "mean_square": float(np.mean(squares)),
        }

    @torch.no_grad()
    def picture(self) -> NDArray[np.uint8]:
        """Maps, the teacher's samples, what is painted from the same noise, and from another."""
        batch = self._shown()
        noises = batch["noise"], self._fresh(batch, range(len(batch["noise"])))
        rows = [self._target(batch), *(self._paint(noise, batch) for noise in noises)]
        return tiles([2 * batch["map"] - 1, *(self._shared.student.decode(row) for row in rows)])

    def _target(self, batch: Batch) -> Tensor:
        return latents_of(self._shared.teacher, batch)

    def _fresh(self, batch: Batch, places: Sequence[int]) -> Tensor:
        return Dice(0, 0, places, device=str(self._device)).normal(*batch["noise"].shape[1:])

    def _paint(self, noise: Tensor, batch: Batch) -> Tensor:
        return self._shared.paint(noise, self._shared.words(batch), shown_by(batch))


def with_control(preset: Preset, place: Place) -> Preset:
    """What is known of the model once it has that ControlNet; of a kind that the live loop doesn't draw, nothing."""
    kind = next((each for each in KINDS if each == place.kind), None)
    if kind is None:
        return preset
    control = Control(kind=kind, folder=place.folder, polarity=DRAWN[kind])
    others = tuple(each for each in preset.controls if each.kind != kind)
    defaults = preset.defaults if others else preset.defaults.replace(control=kind)
    return dataclasses.replace(preset, controls=(*others, control), defaults=defaults)


def _pictures(decoded: Tensor) -> NDArray[np.uint8]:
    whole = decoded.clamp(-1, 1).add(1).mul(127.5).round().byte()
    return np.ascontiguousarray(whole.permute(0, 2, 3, 1).cpu().numpy())
