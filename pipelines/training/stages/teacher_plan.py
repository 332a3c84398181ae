"""The settings of the stage ``teacher``, and what its phases share."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.settings import Kind
from pipelines.training import fresh
from pipelines.training.phase import Plan

#: Held-out pictures: shown, looked at for the validation number, and that at once.
SHOWN, HELD_OUT, LOOKED_AT = 8, 64, 16


@dataclass(frozen=True, kw_only=True)
class TeacherPlan:
    """``kinds`` of ControlNets, each trained by the plan ``controlnet``; none: no ControlNet. ``together``: instead of
    ``diffusion`` and ``controlnet``, phases in which all learn at once, and one ControlNet serves every kind.
    ``lines``: a second phase of the autoencoder in which ``slopes`` is the weight of the pictures' gradients, for thin
    lines.

    ``crop``: pixels a side of what the autoencoder is shown, 0 for the whole picture; ``crops`` of each picture;
    ``latent_noise`` the σ that its decoder has to bear; ``latent_pull`` the λ that keeps its latents around 0.
    ``prediction`` type of the U-Net; ``min_snr`` the γ of Min-SNR weighting (arXiv 2303.09556), 0 for every timestep
    alike; ``drop_prompts`` the share of captions left out, for guidance. ``control_start``: see ``fresh.controlnet``.
    The grids are drawn in ``shown_steps`` at ``shown_guidance``.
    """

    networks: fresh.Networks
    autoencoder: Plan
    diffusion: Plan | None = None
    controlnet: Plan | None = None
    together: tuple[Together | Reading, ...] = ()
    lines: Plan | None = None
    slopes: float = 1.0
    kinds: tuple[Kind, ...] = ("canny",)
    crop: int = 0
    crops: int = 1
    latent_noise: float = 0.05
    latent_pull: float = 1e-3
    prediction: str = "v_prediction"
    min_snr: float = 0.0
    drop_prompts: float = 0.1
    control_start: float = 0.02
    shown_steps: int = 16
    shown_guidance: float = 3.0


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One phase in which the text encoder alone learns, what words look like (``teacher_words``)."""

    name: str
    plan: Plan


@dataclass(frozen=True, kw_only=True)
class Together:
    """One phase in which U-Net, text encoder and ControlNet learn together from the recipe's ``encoded`` pictures, in
    squares of ``crop`` latents (0: whole pictures). ``late``: timesteps are T·u^(1/late), u uniform: above 1 noisy ones
    come more often, in which map and words decide what a picture becomes."""

    name: str
    plan: Plan
    crop: int = 0
    late: float = 1.0
