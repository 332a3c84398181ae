"""The small teacher's phase in which its text encoder learns what words look like, before the U-Net listens to it.

    L = ‖h(mean of E(caption)'s tokens) − s‖²,  s: coarse means and deviations of the picture's latents, of variance 1

In low noise a picture tells its style itself, so a denoiser asks for words late, and a text encoder that starts from
nothing learns slowly through it. Large models take one that has learnt with pictures already (CLIP, arXiv 2103.00020);
this is the small one's. h is thrown away.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pipelines.training.answers import mean_square
from pipelines.training.data.encoded import Encoded
from pipelines.training.data.order import index_at
from pipelines.training.dice import Dice
from pipelines.training.model import Model, encode_words
from pipelines.training.phase import Batch, Plan, Weights
from pipelines.training.run import write_model

#: Cells a side that the means are taken of.
_CELLS = 4
#: Width of h's hidden layer; samples that the looks' scale is measured on; held-out ones.
_HIDDEN, _SCALED_BY, _HELD_OUT = 256, 1024, 256


class WordsPhase:
    """``base``: the model directory whose text encoder learns."""

    rates: Mapping[str, float] = {}

    def __init__(self, name: str, plan: Plan, base: Path, train: Encoded, held_out: Encoded) -> None:
        self.name, self.plan, self._base = name, plan, base
        self._train, self._held_out, self._model = train, held_out, Model.load(base)
        torch.manual_seed(plan.seed)
        self._player = WordsPlayer(self._model, len(self._scale[0]))
        self.players: Mapping[str, nn.Module] = {"words": self._player}
        self.averaged: Mapping[str, nn.Module] = {
            "text_encoder": self._model.text_encoders[0],
            "look": self._player.look,
        }

    def to(self, device: Any) -> None:
        self._model.to(device)

    def fetch(self, position: int) -> Mapping[str, Any]:
        return self._take(self._train, index_at(position, len(self._train), self.plan.seed))

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """``unexplained``: the share of the looks' variance that held-out captions don't tell."""
        device = next(self._player.look.parameters()).device
        taken = [self._take(self._held_out, index) for index in range(min(_HELD_OUT, len(self._held_out)))]
        looks = torch.stack([each["look"] for each in taken]).to(device)
        told = self._player.tell([each["prompt"] for each in taken])
        return {"unexplained": float(mean_square(told, looks).mean() / looks.var(0, unbiased=False).mean())}

    def picture(self) -> NDArray[np.uint8]:
        """There is nothing to see yet: the captions' tokens by position, as grey levels."""
        device = next(self._player.look.parameters()).device
        with torch.no_grad():
            words = self._player.read([self._held_out.prompts[index] for index in range(min(8, len(self._held_out)))])
        grey = words.tokens.to(device).flatten(0, 1).clamp(-2, 2).add(2).mul(63.75).byte().cpu().numpy()
        return np.repeat(grey[..., None], 3, 2)

    def export(self, folder: Path, weights: Mapping[str, Weights]) -> None:
        write_model(self._base, folder, {"text_encoder": (self._model.text_encoders[0], weights["text_encoder"])})

    def _take(self, data: Encoded, index: int) -> dict[str, Any]:
        mean, deviation = self._scale
        return {"prompt": data.prompts[index], "look": (look_of(data.latents(index)) - mean) / deviation}

    @cached_property
    def _scale(self) -> tuple[Tensor, Tensor]:
        looks = torch.stack([look_of(self._train.latents(i)) for i in range(min(_SCALED_BY, len(self._train)))])
        return looks.mean(0), looks.std(0, unbiased=False) + 1e-3


class WordsPlayer(nn.Module):
    """E and h."""

    def __init__(self, model: Model, looks: int) -> None:
        super().__init__()
        self.text_encoder = model.text_encoders[0]
        width = int(self.text_encoder.config.hidden_size)
        self.look = nn.Sequential(nn.Linear(width, _HIDDEN), nn.SiLU(), nn.Linear(_HIDDEN, looks))
        self._tokenizers = model.tokenizers

    def forward(self, batch: Batch, dice: Dice) -> dict[str, Tensor]:
        return {"loss": functional.mse_loss(self.tell(batch["prompt"]), batch["look"])}

    def read(self, prompts: list[str]) -> Any:
        """The captions' tokens."""
        return encode_words([self.text_encoder], self._tokenizers, prompts)

    def tell(self, prompts: list[str]) -> Tensor:
        """What their pictures should look like."""
        told: Tensor = self.look(self.read(prompts).tokens.mean(1))
        return told


def look_of(latents: Tensor) -> Tensor:
    """Means of 4×4 cells and each channel's deviation in all, of latents C×h×w."""
    cells = functional.adaptive_avg_pool2d(latents[None], _CELLS)[0].flatten()
    return torch.cat([cells, latents.flatten(1).std(1)])
