"""The two who train in one-step distillation: the student, and the fake score that follows it (SDXS, algorithm 1).

The student learns by feature matching alone at first (eq. 10), then by segmented score distillation (eq. 11):

    Grad(θ) ≈ ∫₀^{αT} F(t, x_t) dt + λ_FM · ∂L_FM/∂θ

Each sample contributes one t drawn from [0, αT] to the first segment and, where its noise is one that the teacher has
painted from, its share of the second. α and λ_FM start high and are lowered. The paper's second segment compares what
both paint from x_t, t near T, which for a one-step student is its noise: so the encoder sees the pictures themselves,
almost clean, as in the warm-up; whether it is to see them noised into that segment instead is a setting.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipelines.errors import TrainingError
from pipelines.lora import LoraSwitch, load_lora
from pipelines.training.coupled import words_of
from pipelines.training.dice import Dice
from pipelines.training.losses.feature_matching import Features, feature_matching
from pipelines.training.losses.networks import open_features
from pipelines.training.losses.score_distillation import (
    WEIGHTINGS,
    Network,
    denoising,
    guided,
    score_distillation,
    score_of,
)
from pipelines.training.losses.slopes import slope_l1
from pipelines.training.model import Model, Words, predict
from pipelines.training.phase import Batch
from pipelines.training.sampling import one_step_latents


@dataclass(frozen=True, kw_only=True)
class Distilling:
    """How a one-step student is taught; the paper gives no values but α "close to 1" and λ_FM "high", both lowered.

    ``warmup``: the share of the steps with feature matching alone. ``alpha`` and ``matching``: α and λ_FM, from the
    warm-up's end to the last step. ``earliest``: t/T below which no score is asked. ``weighting``: w(t), one of
    ``score_distillation.WEIGHTINGS``. ``guidance``: of the teacher's score (1: none); that of its samples, or the two
    segments pull apart.
    ``features``: ``unet``, ``vgg:FILE`` or ``dinov2:DIRECTORY`` (see ``losses.networks``). ``feature_weights``: w_l,
    equal if empty. ``feature_window``: SSIM's; 3 is better than 7 where latents are 8×8. ``clean``: t/T at which the
    U-Net's encoder sees the pictures. ``noised_segment``: whether, after the warm-up, it sees them at a t drawn from
    (αT, T] instead.
    ``fake_rate``: a factor on the fake score's learning rate; ``fake_draws``: noised timesteps it learns from of each
    picture. ``fresh``: the share of noise that isn't the teacher's own, after the warm-up.
    ``style``: a LoRA for the frozen score alone, at ``style_scale``.
    Not the paper's: ``regression``, the weight of a plain mean square to the batch's latents, and for pairs that learn
    together ``pixels`` and ``slopes``, of L1 to its pictures and of that of their gradients, by which the decoder
    learns too; ``reads``: whether the student's text encoder counts, which pairs learn along. ``matched``: whether
    features are matched at all.
    """

    warmup: float = 0.2
    alpha: tuple[float, float] = (0.98, 0.7)
    matching: tuple[float, float] = (4.0, 1.0)
    earliest: float = 0.02
    weighting: str = "normalised"
    guidance: float = 1.0
    features: str = "unet"
    feature_weights: tuple[float, ...] = ()
    feature_window: int = 7
    clean: float = 0.02
    noised_segment: bool = False
    matched: bool = True
    fake_rate: float = 1.0
    fake_draws: int = 1
    fresh: float = 0.25
    style: str = ""
    style_scale: float = 1.0
    regression: float = 0.0
    pixels: float = 0.0
    slopes: float = 0.0
    reads: bool = False

    def segments(self, step: int, steps: int) -> tuple[float, float] | None:
        """(α, λ_FM) at a step, counted from 0; None during the warm-up."""
        first = round(self.warmup * steps)
        if step < first:
            return None
        way = min((step - first) / max(steps - 1 - first, 1), 1.0)
        alpha, matching = (start + (end - start) * way for start, end in (self.alpha, self.matching))
        return alpha, matching


@dataclass(frozen=True, kw_only=True, eq=False)
class Shown:
    """``maps`` B×3×H×W, and the conditioning ``scale`` of all or of each (B)."""

    maps: Tensor
    scale: Tensor | float = 1.0

    def repeated(self, times: int) -> Shown:
        """Each sample that many times."""
        scale = _repeated(self.scale, times) if isinstance(self.scale, Tensor) else self.scale
        return Shown(maps=_repeated(self.maps, times), scale=scale)


def shown_by(batch: Batch) -> Shown | None:
    """What of a batch a ControlNet sees, if there is anything."""
    return Shown(maps=batch["map"], scale=batch.get("scale", 1.0)) if "map" in batch else None


@dataclass(frozen=True, kw_only=True, eq=False)
class Distillation:
    """What the players share, and no module, so that nothing in it is registered.

    ``control``: the kind of ControlNet that student and teacher both look through, if any; it is then the student's
    ControlNet that trains, ``together`` with its U-Net or alone, and the teacher's is added to both scores. Prompts are
    encoded by the teacher. ``plain``:
    the teacher without the style. Use ``make``.
    """

    settings: Distilling
    steps: int
    student: Model
    teacher: Model
    plain: Model
    fake: Model
    features: Features
    control: str = ""
    together: bool = False

    @classmethod
    def make(
        cls,
        settings: Distilling,
        steps: int,
        student: Model,
        teacher: Model,
        control: str = "",
        *,
        together: bool = False,
    ) -> Distillation:
        """The fake score begins as the teacher's copy; the style goes into the teacher's alone.

        Raises TrainingError for settings that nothing is known by, and what ``load_lora`` raises.
        """
        if settings.weighting not in WEIGHTINGS:
            raise TrainingError(
                f"The weighting {settings.weighting!r} is not known; use one of {', '.join(sorted(WEIGHTINGS))}."
            )
        fake = replace(teacher, unet=copy.deepcopy(teacher.unet).requires_grad_(False))
        plain = replace(teacher, unet=copy.deepcopy(teacher.unet)) if settings.style else teacher
        features = open_features(settings.features, plain)
        if settings.style:
            _fold(settings, teacher.unet)
        return cls(
            settings=settings,
            steps=steps,
            student=student,
            teacher=teacher,
            plain=plain,
            fake=fake,
            features=features,
            control=control,
            together=together,
        )

    @property
    def trained(self) -> nn.Module:
        """What of the student trains."""
        network: nn.Module = self.student.controlnets[self.control] if self.control else self.student.unet
        if not self.together:
            return network
        pair: dict[str, nn.Module] = {"unet": self.student.unet, "controlnet": network}
        if self.settings.pixels:
            pair["decoder"] = self.student.vae.decoder
        if self.settings.reads:
            pair["text_encoder"] = self.student.text_encoders[0]
        return nn.ModuleDict(pair)

    def to(self, device: Any) -> None:
        """Move every network."""
        for each in (self.student, self.teacher, self.plain, self.fake, self.features):
            each.to(device)

    @torch.no_grad()
    def words(self, batch: Batch) -> Words:
        """The batch's prompts, encoded by the teacher."""
        return words_of(self.teacher.text_encoders, self.teacher.tokenizers, batch)

    def own_words(self, batch: Batch) -> Words:
        """The same as the student is told them: by the teacher's encoder, unless it learns or has learnt to read
        itself. Gradients pass then."""
        if not self.settings.reads:
            return self.words(batch)
        return words_of(self.student.text_encoders, self.student.tokenizers, batch)

    def paint(self, noise: Tensor, words: Words, shown: Shown | None) -> Tensor:
        """The student's latents in one step."""
        added = None
        if self.control and shown is not None:
            step = self.student.diffusion.step
            t = torch.full((len(noise),), step.timestep, device=noise.device)
            added = self.student.control(self.control, step.input_scale * noise, t, words, shown.maps, shown.scale)
        return one_step_latents(self.student, self.student.unet, noise, words, added)

    def network(self, model: Model, words: Words, shown: Shown | None) -> Network:
        """The U-Net of the teacher or the fake score, with the teacher's ControlNet on it."""

        def answer(noisy: Tensor, t: Tensor) -> Tensor:
            added = None
            if self.control and shown is not None:
                added = model.control(self.control, noisy, t, words, shown.maps, shown.scale)
            return predict(model.unet, noisy, t, words, added)

        return answer

    def timesteps(self, low: float, high: float, dice: Dice) -> Tensor:
        """Whole timesteps, uniform between two shares of T."""
        count = self.teacher.diffusion.timesteps
        return dice.uniform(low * count, high * count).long().clamp(max=count - 1)


class StudentPlayer(nn.Module):
    """Batches have ``noise``, ``latents`` (the teacher's sample from it), ``prompt`` and, under a control, ``map``."""

    def __init__(self, shared: Distillation) -> None:
        super().__init__()
        self.trained, self._shared = shared.trained, shared

    def forward(self, batch: Batch, dice: Dice) -> dict[str, Tensor]:
        """``matching``: L_FM; ``score``: half the mean square of what the scores differ by, weighted."""
        shared, plan = self._shared, self._shared.settings
        segments = plan.segments(dice.step, shared.steps)
        noise, paired = partly_fresh(batch["noise"], plan.fresh if segments else 0.0, dice)
        words, shown = shared.words(batch), shown_by(batch)
        latents = shared.paint(noise, shared.own_words(batch), shown)
        low, high = (segments[0], 1.0) if segments and plan.noised_segment else (plan.clean, plan.clean)
        t = shared.timesteps(low, high, dice)
        found, loss = {}, latents.new_zeros(())
        if plan.matched:
            loss = (paired * self._matching(latents, batch["latents"], t, words, dice)).mean()
            found["matching"] = loss
        if segments:
            found["score"] = self._score(latents, segments[0], words, shown, dice).mean()
            loss = found["score"] + segments[1] * loss
        if plan.regression:
            apart = (latents - batch["latents"]).square().flatten(1).mean(1)
            found["regression"] = (paired * apart).mean()
            loss = loss + plan.regression * found["regression"]
        if plan.pixels:
            picture = shared.student.decode(latents)
            found["pixels"] = functional.l1_loss(picture, batch["picture"])
            found["slopes"] = slope_l1(picture, batch["picture"])
            loss = loss + plan.pixels * found["pixels"] + plan.slopes * found["slopes"]
        return {"loss": loss, **found}

    def _matching(self, latents: Tensor, target: Tensor, t: Tensor, words: Words, dice: Dice) -> Tensor:
        """L_FM, B."""
        plan, noise = self._shared.settings, dice.normal(*latents.shape[1:])
        with torch.no_grad():
            theirs = self._shared.features(target, noise, t, words)
        ours = self._shared.features(latents, noise, t, words)
        return feature_matching(ours, theirs, weights=plan.feature_weights or None, window=plan.feature_window)

    def _score(self, latents: Tensor, alpha: float, words: Words, shown: Shown | None, dice: Dice) -> Tensor:
        """The gradient of [0, αT], B: in units of one number of the latents, so that λ_FM fits all sizes."""
        shared, plan = self._shared, self._shared.settings
        teacher = shared.network(shared.teacher, words, shown)
        if plan.guidance != 1:
            nothing = shared.teacher.words([""] * len(latents))
            teacher = guided(teacher, shared.network(shared.teacher, nothing, shown), plan.guidance)
        t = shared.timesteps(plan.earliest, alpha, dice)
        diffusion = shared.teacher.diffusion
        found = score_distillation(
            latents,
            dice.normal(*latents.shape[1:]),
            t,
            diffusion=diffusion,
            teacher=score_of(teacher, diffusion),
            fake=score_of(shared.network(shared.fake, words, shown), diffusion),
            weighting=WEIGHTINGS[plan.weighting],
        )
        return found / latents[0].numel()


class FakePlayer(nn.Module):
    """The fake score: denoises what the student paints now, from noise that is always fresh (SDXS, eq. 1).

    It learns from the first step on, so that it knows the student when the warm-up ends.
    """

    def __init__(self, shared: Distillation) -> None:
        super().__init__()
        self.unet, self._shared = shared.fake.unet, shared

    def forward(self, batch: Batch, dice: Dice) -> dict[str, Tensor]:
        shared, draws = self._shared, self._shared.settings.fake_draws
        words, shown = shared.words(batch), shown_by(batch)
        shape = batch["noise"].shape[1:]
        with torch.no_grad():
            noise = batch["noise"] if shared.together else dice.normal(*shape)  # coupled noise is as fresh
            latents = shared.paint(noise, shared.own_words(batch), shown).repeat_interleave(draws, 0)
        t = torch.stack([shared.timesteps(0, 1, dice) for _ in range(draws)], 1).flatten()
        network = shared.network(shared.fake, _repeat(words, draws), None if shown is None else shown.repeated(draws))
        noise = dice.normal(draws, *shape).flatten(0, 1)
        return {"loss": denoising(latents, noise, t, diffusion=shared.fake.diffusion, network=network).mean()}


def partly_fresh(noise: Tensor, share: float, dice: Dice) -> tuple[Tensor, Tensor]:
    """The noise with a share of it drawn anew, and B weights for what needs the teacher's sample from it: 0 where the
    noise is fresh, and as much more where it isn't, so that the mean over all samples stays what it was."""
    if not share:
        return noise, torch.ones(len(noise), device=noise.device)
    kept = dice.uniform() >= share
    mixed = torch.where(kept.view(-1, 1, 1, 1), noise, dice.normal(*noise.shape[1:]))
    return mixed, kept / max(1 - share, 1e-6)


def _fold(settings: Distilling, unet: Any) -> None:
    LoraSwitch(unet, {"style": load_lora(Path(settings.style), unet)}).use("style", settings.style_scale)


def _repeated(values: Tensor, times: int) -> Tensor:
    return values.repeat_interleave(times, 0)


def _repeat(words: Words, times: int) -> Words:
    pooled = None if words.pooled is None else _repeated(words.pooled, times)
    return Words(tokens=_repeated(words.tokens, times), pooled=pooled)
