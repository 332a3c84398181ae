"""Stage ``decoder``: a small decoder (and encoder) that does what the teacher's does."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.training.phase import Plan


@dataclass(frozen=True, kw_only=True)
class DecoderPlan:
    """Of the student, an ``AutoencoderTiny`` (convolutions alone: no norm, no attention): ``channels`` and ``blocks`` of
    the decoder's four resolutions from the latents' up, ``encoder_channels`` and ``encoder_blocks`` of the encoder's
    from the picture's down. The defaults are TAESD's layout, the paper's 1.2 M decoder.

    ``adversarial``: the paper's λ, in force after ``adversarial_from`` of the steps; the discriminator's first
    convolution is ``critic_channels`` wide, ``critic_rate`` is a factor on the learning rate, ``conditioned`` shows it
    the latents too, ``r1`` is γ and ``r1_sigma`` its σ. Not the paper's: ``pixels``, the weight of an L1 at full size.
    """

    plan: Plan
    channels: int = 64
    blocks: tuple[int, int, int, int] = (3, 3, 3, 1)
    encoder_channels: int = 64
    encoder_blocks: tuple[int, int, int, int] = (1, 3, 3, 3)
    adversarial: float = 0.1
    adversarial_from: float = 0.2
    critic_channels: int = 64
    critic_rate: float = 1.0
    conditioned: bool = True
    r1: float = 0.1
    r1_sigma: float = 0.05
    pixels: float = 0.0
