"""The module as it is: the reference that the others are checked against."""

from __future__ import annotations

import torch
from torch import Tensor

from pipelines.graph import PaintGraph


class EagerBackend:
    """Plain torch on any device."""

    name = "eager"

    def __init__(self, graph: PaintGraph, device: torch.device) -> None:
        self._graph = graph.to(device)

    @torch.inference_mode()
    def __call__(self, control: Tensor, noise: Tensor, embeddings: Tensor, scale: Tensor) -> Tensor:
        picture: Tensor = self._graph(control, noise, embeddings, scale)
        return picture
