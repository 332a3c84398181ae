"""Who tells made pictures and latents from true ones. No norm over the batch: each sample is judged on its own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipelines.training.losses.adversarial import full_precision

_SLOPE = 0.2


class PatchDiscriminator(nn.Module):
    """PatchGAN (arXiv 1611.07004): B×3×H×W in [−1, 1] to a logit for each patch, B×1×H/8×W/8.

    ``latent_channels``: it sees the latents of the picture, B×C×H/8×W/8, beside its own features; 0 for none. The
    smallest ``channels`` double at each of the three halvings.
    """

    def __init__(self, channels: int, latent_channels: int = 0) -> None:
        super().__init__()
        self.descent = nn.ModuleList(
            [
                nn.Conv2d(3, channels, 4, stride=2, padding=1),
                nn.Conv2d(channels, 2 * channels, 4, stride=2, padding=1),
                nn.Conv2d(2 * channels, 4 * channels, 4, stride=2, padding=1),
            ]
        )
        self.joint = nn.Conv2d(4 * channels + latent_channels, 4 * channels, 3, padding=1)
        self.answer = nn.Conv2d(4 * channels, 1, 3, padding=1)
        self._conditioned = latent_channels > 0

    def forward(self, pictures: Tensor, latents: Tensor) -> Tensor:
        with full_precision(pictures.device):
            features = pictures.float()
            for layer in self.descent:
                features = functional.leaky_relu(layer(features), _SLOPE)
            if self._conditioned:
                features = torch.cat([features, latents.float()], 1)
            answer: Tensor = self.answer(functional.leaky_relu(self.joint(features), _SLOPE))
        return answer


class FeatureHeads(nn.Module):
    """Small heads on another network's features (Projected GANs, arXiv 2111.01007; as on a frozen diffusion U-Net's
    encoder in LADD, arXiv 2403.12015): maps B×C_i×h_i×w_i to logits, all of a sample's patches side by side, B×N.

    ``widths``: the C_i. The maps should come with a mean of about 0 and a deviation of about 1.
    """

    def __init__(self, widths: Sequence[int], channels: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, channels, 1),
                nn.LeakyReLU(_SLOPE),
                nn.Conv2d(channels, channels, 3, padding=1),
                nn.LeakyReLU(_SLOPE),
                nn.Conv2d(channels, 1, 1),
            )
            for width in widths
        )

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        with full_precision(features[0].device):
            answers = [head(each.float()).flatten(1) for head, each in zip(self.heads, features, strict=True)]
        return torch.cat(answers, 1)
