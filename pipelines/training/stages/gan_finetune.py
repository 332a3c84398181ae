"""Stage ``gan-finetune``: the last short pass, adversarial in the latents, through a very low-rank LoRA."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.training.phase import Plan


@dataclass(frozen=True, kw_only=True)
class GanPlan:
    """``rank`` of the LoRA on the attentions' projections, and on the ``convolutions`` of the residual blocks if asked.

    ``adversarial``: the game's weight; ``anchor``: that of the mean squared distance to what the model painted at the
    start. ``fresh``: the share of samples that start from fresh noise instead of a triplet's. ``pictures``: the data
    set's pictures, encoded, are the real ones, instead of the teacher's samples. ``noised``: the lowest and highest
    timestep, as shares of T, at which the discriminator looks. ``critic_channels``: width of its heads; ``critic_rate``:
    a factor on the learning rate. ``r1``, ``r1_sigma``: see ``losses.adversarial``.
    """

    plan: Plan
    rank: int = 2
    convolutions: bool = False
    adversarial: float = 1.0
    anchor: float = 1.0
    fresh: float = 0.5
    pictures: bool = False
    noised: tuple[float, float] = (0.02, 0.7)
    critic_channels: int = 64
    critic_rate: float = 1.0
    r1: float = 0.1
    r1_sigma: float = 0.05
