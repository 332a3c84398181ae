"""Text to embeddings, each prompt encoded once."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipelines.errors import CheckpointError


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


class PromptEncoder:
    """A text encoder with a small least-recently-used cache."""

    def __init__(self, tokenizer: Any, text_encoder: nn.Module, *, remember: int = 256) -> None:
        self._tokenizer = tokenizer
        self._text_encoder = text_encoder
        self._remember = remember
        self._cache: OrderedDict[str, Tensor] = OrderedDict()

    @torch.inference_mode()
    def __call__(self, prompt: str) -> Tensor:
        """The last hidden state of the text encoder, L×D, padded or cut to the tokenizer's length L."""
        if prompt in self._cache:
            self._cache.move_to_end(prompt)
            return self._cache[prompt]
        tokens = self._tokenizer(
            prompt,
            padding="max_length",
            max_length=self._tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        device = next(self._text_encoder.parameters()).device
        embedding: Tensor = self._text_encoder(tokens.input_ids.to(device))[0][0]
        self._cache[prompt] = embedding
        if len(self._cache) > self._remember:
            self._cache.popitem(last=False)
        return embedding
