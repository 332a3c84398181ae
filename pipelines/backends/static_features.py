"""What the U-Net's descent gave, kept in buffers that stay, and for which noises and prompts that was."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pipelines.backends.base import FrameInputs
from pipelines.split import Features

#: The tensors that a row's features follow from.
Key = tuple[Tensor | None, ...]


def keys_of(frames: FrameInputs) -> list[Key]:
    """One for each row."""
    return [(noise, each.embeddings, each.temb) for noise, each in zip(frames.noise, frames.constants, strict=True)]


class StaticFeatures:
    """Room for ``capacity`` rows like those of ``example``, channels last."""

    def __init__(self, example: Features, *, capacity: int) -> None:
        self._tensors = [
            each.new_zeros((capacity, *each.shape[1:])).contiguous(memory_format=torch.channels_last)
            for each in example
        ]
        # The tensors themselves, so that none of them is freed and its place taken by another.
        self._held: list[Key | None] = [None] * capacity

    def views(self, batch: int) -> Features:
        """The first ``batch`` rows."""
        return tuple(each[:batch] for each in self._tensors)

    def write(self, features: Features) -> None:
        """Into the first rows."""
        for own, each in zip(self._tensors, features, strict=True):
            own[: len(each)].copy_(each)

    def are_of(self, keys: Sequence[Key]) -> bool:
        """Whether the first rows follow from just these tensors."""
        return all(
            held is not None and all(one is other for one, other in zip(held, key, strict=True))
            for held, key in zip(self._held, keys, strict=False)
        )

    def now_of(self, keys: Sequence[Key], batch: int) -> None:
        """The first ``batch`` rows were written, of which the first have these keys and the others say nothing."""
        self._held[:batch] = [*keys, *[None] * (batch - len(keys))]

    def forget(self) -> None:
        """Nothing is known of any row."""
        self._held = [None] * len(self._held)
