"""Stage ``one-step``: the small U-Net learns to paint at once (SDXS, arXiv 2403.16627, section 3.2).

Feature matching alone warms it up (eq. 10), then segmented score distillation moves its pictures' distribution to the
teacher's (eqs. 11 and 12). What trains, and by which loss, is in ``one_step_players``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipelines.errors import TrainingError
from pipelines.training.data.encoded import ensure_encoded
from pipelines.training.data.order import index_at
from pipelines.training.data.samples import ensure_samples
from pipelines.training.distance import descriptors, kernel_distance
from pipelines.training.losses.feature_matching import UNetEncoder
from pipelines.training.model import Model
from pipelines.training.one_step_players import Distillation, Distilling, FakePlayer, StudentPlayer
from pipelines.training.phase import Phase, Plan, Weights
from pipelines.training.run import Run, write_model
from pipelines.training.stages.one_step_together import OneStepTogetherPhase, PairPart
from pipelines.training.tiles import tiles

SHOWN, LOOKED_AT = 8, 16


class Triplets(Protocol):
    """The teacher's samples, as ``data.samples`` gives them: ``noise`` and ``latents`` C×h×w, ``prompt``."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Mapping[str, Any]: ...


@dataclass(frozen=True, kw_only=True)
class OneStepPlan:
    """``method``: how the student is taught. ``together``: instead of ``plan``, phases one after the other in which
    U-Net and ControlNet learn at once."""

    plan: Plan | None = None
    method: Distilling = field(default_factory=Distilling)
    together: tuple[PairPart, ...] = ()


def phases(run: Run, *, device: torch.device) -> Iterator[Phase]:
    """The phases of this stage: one, unless the recipe says otherwise. Raises TrainingError where the stage before is
    missing, and what loading raises."""
    base = run.model("unet", wanted_by="one-step")
    teacher = Model.load(run.teacher_of("one-step"))
    if run.recipe.one_step.together:
        yield from _together(run, base, teacher, device)
        return
    train, held_out = ensure_samples(run, teacher, device=device)
    yield OneStepPhase(run.recipe.one_step, base, teacher, train, held_out)


def _together(run: Run, base: Path, teacher: Model, device: torch.device) -> Iterator[Phase]:
    kind, encoded = next(iter(teacher.controlnets)), ensure_encoded(run, teacher, device=device)
    for part in run.recipe.one_step.together:
        name = f"one-step/{part.name}"
        shared = Distillation.make(part.method, part.plan.steps, Model.load(base), teacher, kind, together=True)
        yield OneStepTogetherPhase(name, part, shared, base, *encoded)
        base = run.folder / name / "model"


class OneStepPhase:
    """``base``: the model directory whose U-Net becomes the student."""

    name = "one-step"

    def __init__(self, settings: OneStepPlan, base: Path, teacher: Model, train: Triplets, held_out: Triplets) -> None:
        if settings.plan is None:
            raise TrainingError("The recipe doesn't say how long its student learns to paint in one step.")
        self.plan, self._base = settings.plan, base
        self._train, self._held_out = train, held_out
        self._shared = Distillation.make(settings.method, self.plan.steps, Model.load(base), teacher)
        self.rates = {"fake": settings.method.fake_rate}
        self.players: Mapping[str, nn.Module] = {
            "student": StudentPlayer(self._shared),
            "fake": FakePlayer(self._shared),
        }
        self.averaged: Mapping[str, nn.Module] = {"unet": self._shared.student.unet}

    def to(self, device: Any) -> None:
        self._shared.to(device)

    def fetch(self, position: int) -> Mapping[str, Any]:
        sample = self._train[index_at(position, len(self._train), self.plan.seed)]
        return {name: sample[name] for name in ("noise", "latents", "prompt")}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """``kernel_distance`` between the student's pictures and the teacher's, of the held-out noises and prompts;
        ``mean_square``: of the latents of each pair."""
        ours, theirs = [], []
        square = 0.0
        for start in range(0, len(self._held_out), LOOKED_AT):
            noise, target, prompts = self._look(start, LOOKED_AT)
            painted = self._paint(noise, prompts)
            square += float((painted - target).double().square().mean()) * len(noise) / len(self._held_out)
            ours.append(self._describe(painted, prompts))
            theirs.append(self._describe(target, prompts))
        return {"kernel_distance": kernel_distance(torch.cat(ours), torch.cat(theirs)), "mean_square": square}

    @torch.no_grad()
    def picture(self) -> NDArray[np.uint8]:
        """The teacher's samples above what the student paints from the same noise, both decoded by the student's."""
        noise, target, prompts = self._look(0, SHOWN)
        return tiles([self._shared.student.decode(each) for each in (target, self._paint(noise, prompts))])

    def export(self, folder: Path, weights: Mapping[str, Weights]) -> None:
        write_model(self._base, folder, {"unet": (self._shared.student.unet, weights["unet"])})

    def _paint(self, noise: Tensor, prompts: Sequence[str]) -> Tensor:
        return self._shared.paint(noise, self._shared.teacher.words(prompts), None)

    def _describe(self, latents: Tensor, prompts: Sequence[str]) -> Tensor:
        """What the teacher's encoder sees without a prompt, so that pictures alone decide; clean but for t = 0."""
        shared = self._shared
        nothing = shared.teacher.words([""] * len(prompts))
        t = torch.zeros(len(latents), dtype=torch.long, device=latents.device)
        return descriptors(UNetEncoder(shared.plain)(latents, torch.zeros_like(latents), t, nothing)).cpu()

    def _look(self, start: int, count: int) -> tuple[Tensor, Tensor, list[str]]:
        device = next(self._shared.student.unet.parameters()).device
        samples = [self._held_out[i] for i in range(start, min(start + count, len(self._held_out)))]
        noise, latents = (torch.stack([each[name] for each in samples]).to(device) for name in ("noise", "latents"))
        return noise, latents, [each["prompt"] for each in samples]
