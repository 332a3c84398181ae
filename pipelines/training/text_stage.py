"""Stage 2: the text encoder learns to tell styles and colours apart.

Without this the painter hears the prompt late: after a thousand steps it told light styles from dark ones, no more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipelines.training import captions
from pipelines.training.styles import STYLES
from pipelines.training.text import tokens

HUES = sorted(set(captions.COLOURS.values()))


@dataclass(frozen=True, kw_only=True)
class Wordings:
    """``texts`` B · ``styles`` B, their numbers · ``hues`` B, 0 for none, else one more than the hue's place."""

    texts: list[str]
    styles: Tensor
    hues: Tensor


class TextStage:
    """Style and hue are read from each of the closing tokens, on which most of the painter's attention falls."""

    def __init__(self, text_encoder: Any, tokenizer: Any, width: int, batch: int) -> None:
        self.text_encoder, self.tokenizer, self.batch = text_encoder, tokenizer, batch
        self.heads = nn.Linear(width, len(STYLES) + len(HUES) + 1)
        self.modules = nn.ModuleDict({"text_encoder": text_encoder, "heads": self.heads})

    @property
    def draw(self) -> Callable[[np.random.Generator], Wordings]:
        return partial(_wordings, self.batch)

    def loss(self, batch: Wordings) -> dict[str, Tensor]:
        numbers = tokens(self.tokenizer, batch.texts)
        closing = (numbers == self.tokenizer.eos_token_id).float()
        weight = closing / closing.sum(1, keepdim=True)
        styles, hues = self.heads(self.text_encoder(numbers)[0]).split((len(STYLES), len(HUES) + 1), -1)
        style_loss = _read(styles, batch.styles, weight)
        hue_loss = _read(hues, batch.hues, weight)
        right = ((styles.argmax(-1) == batch.styles[:, None]) * weight).sum(1).mean()
        return {"loss": style_loss + hue_loss, "styles_right": right}


def _read(scores: Tensor, wanted: Tensor, weight: Tensor) -> Tensor:
    """Cross entropy of every token's reading (B×L×K) of ``wanted`` (B), averaged with ``weight`` (B×L)."""
    every = F.cross_entropy(scores.flatten(0, 1), wanted[:, None].expand(weight.shape).flatten(), reduction="none")
    return (every.view_as(weight) * weight).sum(1).mean()


def _wordings(count: int, rng: np.random.Generator) -> Wordings:
    names = list(STYLES)
    styles = rng.integers(len(names), size=count)
    drawn = [captions.caption(names[style], rng) for style in styles]
    return Wordings(
        texts=[text for text, _ in drawn],
        styles=torch.from_numpy(styles),
        hues=torch.tensor([0 if tint is None else 1 + HUES.index(tint) for _, tint in drawn]),
    )
