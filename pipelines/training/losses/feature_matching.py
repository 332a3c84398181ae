"""Feature matching (SDXS, arXiv 2403.16627, eq. 10): pictures compared where a network sees them, by structure.

L_FM = Σ_l w_l · (1 − SSIM(f_l(x_θ(ε)), f_l(ψ(x_φ(ε)))))

x_θ(ε) is the student's one-step picture, ψ(x_φ(ε)) the teacher's sample from the same noise, f_l the l-th feature map
of a frozen encoder. The paper writes the similarity itself; what is minimised is its distance from 1. A mean square
between the two would be smallest at the blurred mean of all pictures that the noise may stand for (eq. 9).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor

from pipelines.training.features import encoder_features
from pipelines.training.losses.ssim import ssim
from pipelines.training.model import Model, Words


class Features(Protocol):
    """A frozen network that looks at clean latents; gradients pass through it."""

    def __call__(self, latents: Tensor, noise: Tensor, t: Tensor, words: Words) -> Sequence[Tensor]:
        """Feature maps B×C×H×W of ``latents``. A network that knows noise sees them noised with ``noise`` to the
        timesteps ``t`` (B), under the prompts ``words``; one of pictures doesn't ask for any of these."""

    def to(self, device: Any) -> Any:
        """Move its weights."""


class UNetEncoder:
    """The encoder of a diffusion U-Net: it needs no decoded picture, and the paper finds it as good as the others."""

    def __init__(self, model: Model) -> None:
        self._unet, self._diffusion = model.unet, model.diffusion

    def __call__(self, latents: Tensor, noise: Tensor, t: Tensor, words: Words) -> Sequence[Tensor]:
        """See ``Features``."""
        return encoder_features(self._unet, self._diffusion.add_noise(latents, noise, t), t, words)

    def to(self, device: Any) -> UNetEncoder:
        """The U-Net is the teacher's, which moves it."""
        return self


def feature_matching(
    features: Sequence[Tensor],
    target: Sequence[Tensor],
    *,
    weights: Sequence[float] | None = None,
    window: int = 7,
) -> Tensor:
    """L_FM of each sample, B: 0 where the features agree. ``weights``: w_l, without them each layer's equal share."""
    if weights is None:
        weights = [1 / len(features)] * len(features)
    layers = zip(weights, features, target, strict=True)
    losses = [weight * (1 - ssim(ours, theirs, window=window)) for weight, ours, theirs in layers]
    return sum(losses[1:], losses[0])
