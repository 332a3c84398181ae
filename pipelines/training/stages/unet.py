"""Stage ``unet``: the student is what is left of the teacher, and learns to answer like it (SDXS, arXiv 2403.16627,
section 3.1; BK-SDM, 2305.15798).

    L = ‖ε̂_θ(x_t, t) − ε̂_φ(x_t, t)‖² + λ_F · Σ_l ‖f_l(θ) − f_l(φ)‖² / ‖f_l(φ)‖²

θ is the student, φ the teacher; f_l are the outputs of the down and up stages that remain. There is no denoising loss.
The student keeps the teacher's prediction type, so that raw outputs are compared.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from numpy.typing import NDArray
from torch import Tensor, nn

from pipelines.presets import Preset, read_preset
from pipelines.training.answers import Triplets, latents_of, mean_square, teachers_answer, together, without_some
from pipelines.training.data.encoded import ensure_encoded
from pipelines.training.data.order import index_at
from pipelines.training.data.pictures import open_pictures
from pipelines.training.data.samples import SamplesPlan, ensure_samples
from pipelines.training.dice import Dice
from pipelines.training.features import distance, recorded, shared_blocks
from pipelines.training.model import Model, predict
from pipelines.training.phase import Batch, Phase, Plan, Weights
from pipelines.training.removal import student_of
from pipelines.training.run import Run, write_model
from pipelines.training.sampling import sample
from pipelines.training.stages.unet_together import UNetTogetherPhase
from pipelines.training.tiles import tiles

#: Held-out samples: shown, looked at for the validation number, and that at once.
SHOWN, HELD_OUT, LOOKED_AT = 4, 32, 8


@dataclass(frozen=True, kw_only=True)
class UNetPlan:
    """``features``: the paper's λ_F, of a sum in which each feature's squared distance is relative to the teacher's
    feature (raw, the wide stages would drown the others). ``guidance``: what the teacher's outputs are guided by, so
    that the student needs no second pass; 1 is none. ``drop_prompts``: the share of samples whose prompt is left out.
    ``pictures``: x₀ are the data set's pictures, encoded, instead of the teacher's samples. ``together``: U-Net and
    ControlNet at once, from the recipe's ``encoded`` pictures in squares of ``crop`` latents (0: whole).
    """

    plan: Plan
    features: float = 0.1
    guidance: float = 1.0
    drop_prompts: float = 0.1
    pictures: bool = False
    together: bool = False
    crop: int = 0


def phases(run: Run, *, device: torch.device) -> Iterator[Phase]:
    """The one phase of this stage. Raises what finding and loading the teacher raises, and TrainingError."""
    recipe, base = run.recipe, run.model("decoder", wanted_by="unet")
    teacher = Model.load(run.teacher_of("unet"))
    if recipe.unet.together:
        kind = next(iter(teacher.controlnets))
        encoded = ensure_encoded(run, teacher, device=device)
        yield UNetTogetherPhase(recipe.unet, recipe.removal, teacher, kind, _with_decoder(run, base), *encoded)
        return
    student = student_of(teacher.unet, recipe.removal)
    train: Triplets
    held_out: Triplets
    if recipe.unet.pictures:
        train, held_out = open_pictures(run)
    else:
        train, held_out = ensure_samples(run, teacher, device=device)
    yield UNetPhase(recipe.unet, teacher, student, base, train, held_out, sampling=recipe.samples)


def _with_decoder(run: Run, decoder: Path) -> Path:
    """The teacher's model directory with the small decoder in it. One process writes it and all wait for it."""
    folder, state = run.folder / "unet" / "base", PartialState()
    if state.is_main_process:
        small = Model.load(decoder).vae
        write_model(Path(run.teacher_of("unet")), folder, {"vae": (small, small.state_dict())})
    state.wait_for_everyone()
    return folder


class UNetPhase:
    """``base``: the model directory that the student enters; ``train`` and ``held_out`` give ``latents``, or pictures
    to be encoded, and ``prompt``; ``sampling``: how the pictures of the grid are made, in many steps still."""

    name = "unet"
    rates: Mapping[str, float] = {}

    def __init__(
        self,
        settings: UNetPlan,
        teacher: Model,
        student: Any,
        base: Path,
        train: Triplets,
        held_out: Triplets,
        *,
        sampling: SamplesPlan,
    ) -> None:
        self.plan, self._settings, self._base = settings.plan, settings, base
        self._train, self._held_out, self._sampling = train, held_out, sampling
        self._student = dataclasses.replace(teacher, unet=student, controlnets={})
        self._player = Distiller(student, teacher, settings)
        self._teacher = teacher
        self.players: Mapping[str, nn.Module] = {"unet": self._player}
        self.averaged: Mapping[str, nn.Module] = {"unet": student}

    def to(self, device: Any) -> None:
        self._teacher.to(device)

    def fetch(self, position: int) -> Mapping[str, Any]:
        return _chosen(self._train[index_at(position, len(self._train), self.plan.seed)])

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """``output_mse``: between the student's and the teacher's outputs on held-out samples, at noise and timesteps
        that stay the same; ``features``: the paper's other term."""
        sums = torch.zeros(2, dtype=torch.float64)
        count = min(HELD_OUT, len(self._held_out))
        for start in range(0, count, LOOKED_AT):
            places = range(start, min(start + LOOKED_AT, count))
            batch, dice = self._look(places), Dice(0, 0, places, device=str(self._device))
            t = (torch.tensor(places) * 2 + 1) * self._teacher.diffusion.timesteps // (2 * count)
            output, features = self._player.distances(batch, dice, t.to(self._device), batch["prompt"])
            sums += torch.stack([output.sum(), features.sum()]).double().cpu()
        output_mse, features_mse = (sums / count).tolist()
        return {"output_mse": output_mse, "features": features_mse}

    @torch.no_grad()
    def picture(self) -> NDArray[np.uint8]:
        """What teacher and, below it, student make of the same noise in many steps."""
        places = range(min(SHOWN, len(self._held_out)))
        batch = self._look(places)
        shape = latents_of(self._teacher, batch).shape[1:]
        noise = Dice(0, 0, places, device=str(self._device)).normal(*shape)
        guidance, steps = self._sampling.guidance, self._sampling.steps
        own = 1.0 if self._settings.guidance != 1 else guidance
        teachers = sample(self._teacher, noise, batch["prompt"], steps=steps, guidance=guidance)
        students = sample(self._student, noise, batch["prompt"], steps=steps, guidance=own)
        return tiles([self._teacher.decode(teachers), self._teacher.decode(students)])

    def export(self, folder: Path, weights: Mapping[str, Weights]) -> None:
        # What the teacher had beside its U-Net doesn't fit the student.
        controlnets = [part.name for part in self._base.iterdir() if part.name.startswith("controlnet")]
        write_model(
            self._base,
            folder,
            {"unet": (self._student.unet, weights["unet"])},
            preset=without_extras(read_preset(self._base)),
            without=controlnets,
        )

    @property
    def _device(self) -> torch.device:
        device: torch.device = next(self._student.unet.parameters()).device
        return device

    def _look(self, places: Sequence[int]) -> dict[str, Any]:
        return together([_chosen(self._held_out[place]) for place in places], self._device)


class Distiller(nn.Module):
    """θ, told by φ."""

    def __init__(self, student: nn.Module, teacher: Model, settings: UNetPlan) -> None:
        super().__init__()
        self.student, self._teacher, self._settings = student, teacher, settings
        self._blocks = shared_blocks(teacher.unet, student)

    def forward(self, batch: Batch, dice: Dice) -> dict[str, Tensor]:
        t = dice.integers(0, self._teacher.diffusion.timesteps)
        prompts = without_some(batch["prompt"], dice, self._settings.drop_prompts)
        output, features = (each.mean() for each in self.distances(batch, dice, t, prompts))
        return {"loss": output + self._settings.features * features, "output": output, "features": features}

    def distances(self, batch: Batch, dice: Dice, t: Tensor, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """‖ε̂_θ − ε̂_φ‖² and the sum over features, each B."""
        teacher, blocks = self._teacher, self._blocks
        latents = latents_of(teacher, batch)
        noisy = teacher.diffusion.add_noise(latents, dice.normal(*latents.shape[1:]), t)
        answer, theirs = teachers_answer(
            teacher, noisy, t, prompts, [name for name, _ in blocks], guidance=self._settings.guidance
        )
        with recorded(self.student, [name for _, name in blocks]) as found:
            output = predict(self.student, noisy, t, teacher.words(prompts))
        return mean_square(output, answer), distance([found[name] for _, name in blocks], theirs)


def without_extras(preset: Preset) -> Preset:
    """What is known of a model whose ControlNets and LoRAs were left behind."""
    defaults = preset.defaults.replace(control="none", extra_controls={}, lora="")
    return dataclasses.replace(preset, controls=(), loras=(), defaults=defaults)


def _chosen(given: Mapping[str, Any]) -> dict[str, Any]:
    """What this stage needs of a sample."""
    return {name: given[name] for name in ("latents" if "latents" in given else "picture", "prompt")}
