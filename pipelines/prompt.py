"""Text to embeddings, each prompt encoded once."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipelines.errors import CheckpointError
from pipelines.recent import Recent
from pipelines.settings import Settings
from pipelines.travel import slerp


def load_tokenizer(folder: Path) -> Any:
    """The CLIP tokenizer of a model directory. Raises CheckpointError naming the folder or the missing file."""
    if not (folder / "tokenizer.json").is_file():
        for name in ("vocab.json", "merges.txt"):
            if not (folder / name).is_file():
                raise CheckpointError(f"{folder / name} is missing; a CLIP tokenizer needs it.")
    from transformers import CLIPTokenizer

    try:
        return CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:  # the library raises many kinds for a broken vocabulary
        raise CheckpointError(f"{folder} holds no tokenizer that can be read: {error}") from None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Embedding:
    """``tokens`` L×D, one vector for each token; ``pooled`` P, one for the whole text (SDXL family only)."""

    tokens: Tensor
    pooled: Tensor | None = None


class PromptEncoder:
    """The text encoders of one model, with a small least-recently-used cache.

    One encoder (SD 1.x, 2.x): its last hidden state. Two (SDXL, arXiv 2307.01952, section 2.1): the hidden states
    before the last of both, side by side, and the pooled text embedding of the second.
    """

    def __init__(self, tokenizers: Sequence[Any], text_encoders: Sequence[Any], *, remember: int = 256) -> None:
        self._parts = list(zip(tokenizers, text_encoders, strict=True))
        self._cache: Recent[str, Embedding] = Recent(remember)

    @torch.inference_mode()
    def __call__(self, prompt: str) -> Embedding:
        """Padded or cut to the tokenizer's length L."""
        return self._cache.get(prompt, lambda: (self._encode_both if len(self._parts) > 1 else self._encode)(prompt))

    def of(self, settings: Settings) -> Embedding:
        """The embedding of ``prompt``, ``blend`` of the way to that of ``prompt_b``, token by token."""
        first = self(settings.prompt)
        if settings.blend <= 0.0 or not settings.prompt_b:
            return first
        second = self(settings.prompt_b)
        pooled = None
        if first.pooled is not None and second.pooled is not None:
            pooled = slerp(first.pooled, second.pooled, settings.blend, dim=-1)
        return Embedding(tokens=slerp(first.tokens, second.tokens, settings.blend, dim=-1), pooled=pooled)

    def _encode(self, prompt: str) -> Embedding:
        (tokenizer, text_encoder) = self._parts[0]
        return Embedding(tokens=text_encoder(_token_ids(tokenizer, prompt, text_encoder))[0][0])

    def _encode_both(self, prompt: str) -> Embedding:
        outputs = [
            text_encoder(_token_ids(tokenizer, prompt, text_encoder), output_hidden_states=True)
            for tokenizer, text_encoder in self._parts
        ]
        tokens = torch.cat([output.hidden_states[-2][0] for output in outputs], dim=-1)
        return Embedding(tokens=tokens, pooled=outputs[-1].text_embeds[0])


def _token_ids(tokenizer: Any, prompt: str, text_encoder: Any) -> Tensor:
    tokens = tokenizer(
        prompt, padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt"
    )
    ids: Tensor = tokens.input_ids.to(next(text_encoder.parameters()).device)
    return ids
