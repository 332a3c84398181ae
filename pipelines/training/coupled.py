"""Batches of ``data.encoded``: maps at strengths of their own, and prompts between two others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from pipelines.training.model import Words, encode_words
from pipelines.training.phase import Batch
from pipelines.travel import slerp_weights


def words_of(text_encoders: Sequence[Any], tokenizers: Sequence[Any], batch: Batch) -> Words:
    """The batch's prompts, each ``blend`` of the way to its ``prompt_b`` as ``PromptEncoder.of`` goes it. Gradients
    pass, but for those of the arc's angle."""
    words = encode_words(text_encoders, tokenizers, batch["prompt"])
    share = batch.get("blend")
    if share is None or not bool((share > 0).any()):
        return words
    others = [other or prompt for prompt, other in zip(batch["prompt"], batch["prompt_b"], strict=True)]
    there = encode_words(text_encoders, tokenizers, others)
    return replace(words, tokens=_between(words.tokens, there.tokens, share.view(-1, 1, 1)))


def _between(start: Tensor, end: Tensor, share: Tensor) -> Tensor:
    with torch.no_grad():
        from_start, from_end = slerp_weights(start.float(), end.float(), share, dim=-1)
    return from_start * start + from_end * end
