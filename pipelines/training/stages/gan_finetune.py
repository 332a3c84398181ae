"""Stage ``gan-finetune``: the last short pass, adversarial in the latents, through a very low-rank LoRA.

The paper (SDXS, arXiv 2403.16627) tells no more of it than that. Here the discriminator is a set of small heads on the
frozen teacher's own encoder, which looks at latents noised again (as in LADD, arXiv 2403.12015, and DMD2, arXiv
2405.14867), and the student is held near what it painted at the start:

    L = λ · softplus(−D(f(x_t))) + μ · ‖x − x_start‖²,   x = x_θ(ε),   x_t = α_t·x + σ_t·n,   f: the teacher's features
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pipelines.errors import TrainingError
from pipelines.training.data.dataset import Dataset, open_data
from pipelines.training.data.order import index_at
from pipelines.training.data.samples import Samples, ensure_samples
from pipelines.training.dice import Dice
from pipelines.training.discriminators import FeatureHeads
from pipelines.training.distance import descriptors, kernel_distance
from pipelines.training.features import encoder_features
from pipelines.training.losses.adversarial import frozen, game, generator_loss
from pipelines.training.low_rank import TrainedLora
from pipelines.training.model import Model, Words
from pipelines.training.phase import Batch, Phase, Plan, Weights
from pipelines.training.run import Run, write_model
from pipelines.training.sampling import one_step_latents
from pipelines.training.tiles import tiles

SHOWN, LOOKED_AT = 8, 16


@dataclass(frozen=True, kw_only=True)
class GanPlan:
    """``rank`` of the LoRA on the attentions' projections, and on the ``convolutions`` of the residual blocks if asked.

    ``adversarial``: λ, the game's weight; ``anchor``: μ. ``fresh``: the share of samples that start from fresh noise
    instead of a triplet's. ``pictures``: the data set's pictures, encoded, are the real ones, instead of the teacher's
    samples. ``adversarial_from``: the share of the steps in which the discriminator trains alone. ``noised``: the
    lowest and highest timestep, as shares of T, at which it looks: small ones show what is fine. ``critic_channels``:
    width of its heads; ``critic_rate``: a factor on the learning rate. ``r1`` is γ and ``r1_sigma`` its σ
    (``losses.adversarial``), on features of deviation 1.
    """

    plan: Plan
    rank: int = 2
    convolutions: bool = False
    adversarial: float = 1.0
    adversarial_from: float = 0.25
    anchor: float = 1.0
    fresh: float = 0.5
    pictures: bool = False
    noised: tuple[float, float] = (0.02, 0.4)
    critic_channels: int = 64
    critic_rate: float = 1.0
    r1: float = 0.1
    r1_sigma: float = 0.05


def phases(run: Run, *, device: torch.device) -> Iterator[Phase]:
    """The one phase of this stage. Raises TrainingError for a missing stage, or pictures that the data don't have."""
    settings = run.recipe.gan_finetune
    base = run.model("controlnet" if run.has("controlnet") else "one-step", wanted_by="gan-finetune")
    teacher = Model.load(run.teacher_of("gan-finetune"))
    train, held_out = ensure_samples(run, teacher, device=device)
    pictures = _pictures(run) if settings.pictures else None
    yield GanPhase(settings, base, teacher, train, held_out, pictures)


class Arena:
    """What both players see and neither registers: teacher, student, and how samples are judged."""

    def __init__(self, settings: GanPlan, teacher: Model, student: Model) -> None:
        self.settings, self.teacher, self.student = settings, teacher, student
        self.lora = TrainedLora(student.unet, settings.rank, convolutions=settings.convolutions)
        self.heads = FeatureHeads(_widths(teacher.unet), settings.critic_channels)
        self._scales: list[tuple[Tensor, Tensor]] = []

    def paint(self, noise: Tensor, words: Words, unet: Any = None) -> Tensor:
        """The student's latents."""
        return one_step_latents(self.student, unet or self.student.unet, noise, words)

    def noise(self, batch: Batch, dice: Dice) -> Tensor:
        """A triplet's, or fresh."""
        fresh = dice.uniform() < self.settings.fresh
        return torch.where(fresh.view(-1, 1, 1, 1), dice.normal(*batch["noise"].shape[1:]), batch["noise"])

    @torch.no_grad()
    def measure(self, latents: Tensor, words: Words) -> None:
        """Take each channel's mean and deviation from true latents, through noise of all levels that will be used: they
        stay what they are from then on. The same latents give the same numbers."""
        low, high = self._levels()
        t = torch.linspace(low, high - 1, len(latents), device=latents.device).long()
        noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0)).to(latents.device)
        features = [each.float() for each in self._features(latents, words, t, noise)]
        places = (0, 2, 3)
        self._scales = [(each.mean(places, True), each.std(places, keepdim=True) + 1e-4) for each in features]

    def look(self, latents: Tensor, words: Words, t: Tensor, noise: Tensor) -> list[Tensor]:
        """The teacher's features of latents noised to t, of about mean 0 and deviation 1 by ``measure``."""
        features = self._features(latents, words, t, noise)
        return [(each.float() - mean) / std for each, (mean, std) in zip(features, self._scales, strict=True)]

    def moment(self, latents: Tensor, dice: Dice) -> tuple[Tensor, Tensor]:
        """At which t, through which noise the discriminator looks."""
        return dice.integers(*self._levels()), dice.normal(*latents.shape[1:])

    def _levels(self) -> tuple[int, int]:
        low, high = self.settings.noised
        return round(low * self.teacher.diffusion.timesteps), round(high * self.teacher.diffusion.timesteps)

    def _features(self, latents: Tensor, words: Words, t: Tensor, noise: Tensor) -> list[Tensor]:
        return encoder_features(self.teacher.unet, self.teacher.diffusion.add_noise(latents, noise, t), t, words)


class StudentPlayer(nn.Module):
    """The student: to be taken for real, and to stay near where it began."""

    def __init__(self, arena: Arena) -> None:
        super().__init__()
        self.factors, self._arena = arena.lora.factors, arena

    def forward(self, batch: Batch, dice: Dice) -> dict[str, Tensor]:
        arena, settings = self._arena, self._arena.settings
        if dice.step < settings.adversarial_from * settings.plan.steps:
            return {"loss": batch["noise"].new_zeros(())}
        words, noise = arena.student.words(batch["prompt"]), arena.noise(batch, dice)
        with torch.no_grad(), arena.lora.switched_off():
            before = arena.paint(noise, words)
        latents = arena.paint(noise, words)
        features = arena.look(latents, words, *arena.moment(latents, dice))
        adversarial = generator_loss(frozen(arena.heads, features))
        anchor = functional.mse_loss(latents, before)
        loss = settings.adversarial * adversarial + settings.anchor * anchor
        return {"loss": loss, "adversarial": adversarial, "anchor": anchor}


class HeadsPlayer(nn.Module):
    """The discriminator, on true latents and the student's, both through the same noise level."""

    def __init__(self, arena: Arena) -> None:
        super().__init__()
        self.heads, self._arena = arena.heads, arena

    def forward(self, batch: Batch, dice: Dice) -> dict[str, Tensor]:
        arena, settings = self._arena, self._arena.settings
        with torch.no_grad():
            words = arena.student.words(batch["prompt"])
            made = arena.paint(arena.noise(batch, dice), words, partial(frozen, arena.student.unet))
            true, true_words = self._true(batch, words)
            t, noise = arena.moment(made, dice)
            fake = arena.look(made, words, t, noise)
            real = arena.look(true, true_words, t, dice.normal(*made.shape[1:]))
            shifted = [each + settings.r1_sigma * dice.normal(*each.shape[1:]) for each in real]
        together = [torch.cat(three) for three in zip(real, fake, shifted, strict=True)]
        return game(*self.heads(together).chunk(3), gamma=settings.r1, sigma=settings.r1_sigma)

    def _true(self, batch: Batch, words: Words) -> tuple[Tensor, Words]:
        if "true_picture" not in batch:
            return batch["latents"], words
        return self._arena.teacher.encode(batch["true_picture"]), self._arena.student.words(batch["true_prompt"])


class GanPhase:
    """``base``: the model directory that the pass begins with; ``train`` and ``held_out``: the teacher's samples;
    ``pictures``: the data's, to train on and held out, where those are the real ones."""

    name = "gan-finetune"

    def __init__(
        self,
        settings: GanPlan,
        base: Path,
        teacher: Model,
        train: Samples,
        held_out: Samples,
        pictures: tuple[Dataset, Dataset] | None = None,
    ) -> None:
        self.plan, self._base = settings.plan, base
        self._train, self._held_out, self._pictures = train, held_out, pictures
        torch.manual_seed(settings.plan.seed)
        self.arena = Arena(settings, teacher, Model.load(base))
        self.players: Mapping[str, nn.Module] = {
            "student": StudentPlayer(self.arena),
            "discriminator": HeadsPlayer(self.arena),
        }
        self.rates = {"discriminator": settings.critic_rate}
        self.averaged: Mapping[str, nn.Module] = {"lora": self.arena.lora.factors}
        if settings.plan.gradient_checkpointing:
            self.arena.student.unet.enable_gradient_checkpointing()
            teacher.unet.enable_gradient_checkpointing()

    def to(self, device: Any) -> None:
        self.arena.teacher.to(device)
        self.arena.student.to(device)
        self.arena.heads.to(device)
        known = [self._train[i] for i in range(min(LOOKED_AT, len(self._train)))]
        words = self.arena.student.words([each["prompt"] for each in known])
        self.arena.measure(torch.stack([each["latents"] for each in known]).to(device), words)

    def fetch(self, position: int) -> Mapping[str, Any]:
        sample = self._train[index_at(position, len(self._train), self.plan.seed)]
        fetched = {name: sample[name] for name in ("noise", "latents", "prompt")}
        if self._pictures is not None:
            true, _ = self._pictures
            picture, prompt = true.sample(index_at(position, len(true), self.plan.seed + 1))
            fetched |= {"true_picture": _tensor(picture), "true_prompt": prompt}
        return fetched

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """``kernel_distance`` between what the student paints from the held-out noises and true latents."""
        painted, true = [], []
        for start in range(0, len(self._held_out), LOOKED_AT):
            noise, latents, prompts = self._look(start, LOOKED_AT)
            painted.append(self._describe(self.arena.paint(noise, self.arena.student.words(prompts))))
            true.append(self._describe(self._true(start, latents)))
        return {"kernel_distance": kernel_distance(torch.cat(painted), torch.cat(true))}

    @torch.no_grad()
    def picture(self) -> NDArray[np.uint8]:
        """The teacher's samples, what the student painted from the same noise at the start, and what it does now."""
        noise, latents, prompts = self._look(0, SHOWN)
        arena, words = self.arena, self.arena.student.words(prompts)
        with arena.lora.switched_off():
            before = arena.paint(noise, words)
        return tiles([arena.student.decode(each) for each in (latents, before, arena.paint(noise, words))])

    def export(self, folder: Path, weights: Mapping[str, Weights]) -> None:
        """The model with the LoRA in its U-Net, and beside it the LoRA alone, for the model of the stage before."""
        lora = self.arena.lora
        write_model(self._base, folder, {"unet": (self.arena.student.unet, lora.merged(weights["lora"]))})
        lora.save(folder.parent / "lora", weights["lora"])

    def _describe(self, latents: Tensor) -> Tensor:
        """What the teacher's encoder sees in clean latents without a prompt."""
        teacher = self.arena.teacher
        t = torch.zeros(len(latents), dtype=torch.long, device=latents.device)
        return descriptors(encoder_features(teacher.unet, latents, t, teacher.words([""] * len(latents)))).cpu()

    def _true(self, start: int, latents: Tensor) -> Tensor:
        """As many true latents, from that place on: the teacher's samples, or encoded pictures of the data."""
        if self._pictures is None:
            return latents
        _, held_out = self._pictures
        chosen = [_tensor(held_out.picture((start + i) % len(held_out))) for i in range(len(latents))]
        return self.arena.teacher.encode(torch.stack(chosen).to(latents.device))

    def _look(self, start: int, count: int) -> tuple[Tensor, Tensor, list[str]]:
        device = next(self.arena.student.unet.parameters()).device
        samples = [self._held_out[i] for i in range(start, min(start + count, len(self._held_out)))]
        noise, latents = (torch.stack([each[name] for each in samples]).to(device) for name in ("noise", "latents"))
        return noise, latents, [each["prompt"] for each in samples]


def _widths(unet: Any) -> list[int]:
    return [int(width) for width in unet.config.block_out_channels]


def _tensor(picture: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(picture).permute(2, 0, 1).float() / 127.5 - 1


def _pictures(run: Run) -> tuple[Dataset, Dataset]:
    train, held_out = open_data(run.data or run.recipe.data, run.recipe.size)
    if not train.has_pictures:
        raise TrainingError(
            "The recipe's last pass learns from true pictures, and the data have none: give --data a folder of "
            "pictures, or take a recipe whose gan_finetune has pictures=False."
        )
    return train, held_out
