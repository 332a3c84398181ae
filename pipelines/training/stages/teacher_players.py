"""What trains in the stage ``teacher``; the equations are in ``teacher``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipelines.subpixel import AutoencoderSubpixel
from pipelines.training.answers import mean_square, without_some
from pipelines.training.dice import Dice
from pipelines.training.diffusion import Diffusion
from pipelines.training.losses.slopes import slope_l1
from pipelines.training.model import Model, Words, encode_words, predict, residuals
from pipelines.training.phase import Batch


class AutoencoderPlayer(nn.Module):
    """|x̂ − x| + (x̂ − x)² + γ·|∇x̂ − ∇x| + λ·E(x)² with x̂ = D(E(x) + σ·n), means over a picture's and its latents'
    numbers.

    ``noise``: σ. ``pull``: λ. ``slopes``: γ. An encoder that is known from the start (``subpixel``) stays as it is.
    """

    def __init__(self, vae: Any, *, noise: float, pull: float, slopes: float = 0.0) -> None:
        super().__init__()
        self._whole = (vae,)  # in a tuple, where nn.Module doesn't find what isn't trained
        self.trained = vae.decoder if isinstance(vae, AutoencoderSubpixel) else vae
        self._noise, self._pull, self._slopes = noise, pull, slopes

    def forward(self, batch: Batch, dice: Dice) -> dict[str, Tensor]:
        pictures = batch["picture"]
        (vae,) = self._whole
        latents = encode_raw(vae, pictures)
        noise = dice.normal(*latents.shape[1:]).to(latents)
        again = vae.decoder(latents + self._noise * noise)
        l1 = functional.l1_loss(again, pictures)
        square = functional.mse_loss(again, pictures)
        loss = l1 + square + self._pull * latents.square().mean()
        if self._slopes:
            loss = loss + self._slopes * slope_l1(again, pictures)
        return {"loss": loss, "picture_l1": l1}


class _Denoiser(nn.Module):
    """w(t)·‖ŷ − y‖² of the pictures' latents, each at a timestep of its own. ``drop_prompts``: the share of prompts
    left out. ``min_snr``: see ``weight``."""

    def __init__(self, model: Model, *, drop_prompts: float, min_snr: float) -> None:
        super().__init__()
        self._model, self._drop_prompts, self._min_snr = model, drop_prompts, min_snr

    def forward(self, batch: Batch, dice: Dice) -> dict[str, Tensor]:
        t = dice.integers(0, self._model.diffusion.timesteps)
        batch = {**batch, "prompt": without_some(batch["prompt"], dice, self._drop_prompts)}
        errors = self.errors(batch, dice, t)[0]
        weights = weight(self._model.diffusion, t, errors, self._min_snr)
        return {"loss": (weights * errors).mean(), "denoising": errors.mean()}

    def errors(self, batch: Batch, dice: Dice, t: Tensor, *, all_ways: bool = False) -> list[Tensor]:
        """‖ŷ − y‖², B, at the timesteps t; first the way it is trained, then, if wanted, what that is compared with."""
        diffusion = self._model.diffusion
        latents = self._model.encode(batch["picture"])
        noise = dice.normal(*latents.shape[1:]).to(latents)
        noisy, target = diffusion.add_noise(latents, noise, t), diffusion.target(latents, noise, t)
        return [mean_square(answer, target) for answer in self.answers(batch, noisy, t, all_ways)]

    def answers(self, batch: Batch, noisy: Tensor, t: Tensor, all_ways: bool) -> Sequence[Tensor]:
        raise NotImplementedError


class DiffusionPlayer(_Denoiser):
    """U-Net and text encoder together."""

    def __init__(self, model: Model, *, drop_prompts: float, min_snr: float) -> None:
        super().__init__(model, drop_prompts=drop_prompts, min_snr=min_snr)
        self.unet, self.text_encoder = model.unet, model.text_encoders[0]

    def answers(self, batch: Batch, noisy: Tensor, t: Tensor, all_ways: bool) -> Sequence[Tensor]:
        words = encode_words([self.text_encoder], self._model.tokenizers, batch["prompt"])
        return [predict(self.unet, noisy, t, words)]


class ControlNetPlayer(_Denoiser):
    """A ControlNet beside the frozen U-Net."""

    def __init__(self, model: Model, controlnet: Any, *, drop_prompts: float, min_snr: float) -> None:
        super().__init__(model, drop_prompts=drop_prompts, min_snr=min_snr)
        self.controlnet = controlnet

    def answers(self, batch: Batch, noisy: Tensor, t: Tensor, all_ways: bool) -> Sequence[Tensor]:
        words: Words = self._model.words(batch["prompt"])
        added = residuals(self.controlnet, noisy, t, words, batch["map"])
        unet = self._model.unet
        without = [predict(unet, noisy, t, words)] if all_ways else []
        return [predict(unet, noisy, t, words, added), *without]


def encode_raw(vae: Any, pictures: Tensor) -> Tensor:
    """Latents as the encoder gives them, not scaled. Gradients pass."""
    # Its own forward forgets to bring pictures to [0, 1] when it keeps no activations.
    latents: Tensor = vae.encoder.layers(pictures.add(1).div(2))
    return latents


def weight(diffusion: Diffusion, t: Tensor, like: Tensor, gamma: float) -> Tensor:
    """Min-SNR weights of the errors of each prediction type (arXiv 2303.09556, section 3.4), B; 1 for γ = 0.

    min(SNR, γ) of x₀'s error is min(SNR, γ)/SNR of ε's and min(SNR, γ)/(SNR + 1) of v's.
    """
    if not gamma:
        return torch.ones_like(like)
    snr = (diffusion.alpha(t, like) / diffusion.sigma(t, like)) ** 2
    if diffusion.prediction == "sample":
        return snr.clamp(max=gamma)
    return snr.clamp(max=gamma) / (snr if diffusion.prediction == "epsilon" else snr + 1)
