"""The protocol of a backend."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Backend(Protocol):
    """Runs a PaintGraph; shapes and ranges are those of ``PaintGraph.forward``."""

    name: str

    def __call__(self, control: Tensor, noise: Tensor, embeddings: Tensor, scale: Tensor) -> Tensor: ...
