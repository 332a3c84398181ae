"""The module as it is: the reference that the others are checked against."""

from __future__ import annotations

import torch
from torch import Tensor

from pipelines.graph import PaintGraph, PaintInputs


class EagerBackend:
    """Plain torch on any device."""

    name = "eager"

    def __init__(self, graph: PaintGraph, device: torch.device) -> None:
        self._graph = graph.to(device)
        if graph.decode.upcast:
            graph.decode.float()

    @torch.inference_mode()
    def __call__(self, inputs: PaintInputs, nets: tuple[int, ...]) -> Tensor:
        picture: Tensor = self._graph(inputs, nets)
        return picture

    def prepare(self, nets: tuple[int, ...]) -> None:
        """Nothing is compiled."""

    def weights_changed(self, tag: str) -> None:
        """The weights are read at each call."""
