"""The module as it is: the reference that the others are checked against."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pipelines.backends.base import CPU_BATCHES, GPU_BATCHES, FrameInputs, Size, stack_frames
from pipelines.colours import ColourEntry
from pipelines.fold import Constants
from pipelines.frame_graph import Form, FrameGraph
from pipelines.graph import PaintGraph, PaintInputs
from pipelines.prompt import Embedding


class EagerBackend:
    """Plain torch on any device."""

    name = "eager"
    least_psnr: float | None = None

    def __init__(self, graph: PaintGraph, device: torch.device) -> None:
        self._graph = graph
        self._frames = FrameGraph(graph)
        self._dtype = next(graph.unet.parameters()).dtype
        self.batches = CPU_BATCHES if device.type == "cpu" else GPU_BATCHES

    def constants(self, embedding: Embedding, time_ids: Tensor | None) -> Constants:
        return Constants(
            embeddings=embedding.tokens.to(self._dtype),
            pooled=None if time_ids is None or embedding.pooled is None else embedding.pooled.to(self._dtype),
            time_ids=time_ids,
        )

    @torch.inference_mode()
    def __call__(self, inputs: PaintInputs, nets: tuple[int, ...]) -> Tensor:
        picture: Tensor = self._graph(inputs, nets)
        return picture

    @torch.inference_mode()
    def paint(self, frames: FrameInputs, nets: tuple[int, ...], form: Form, size: Size) -> Tensor:
        inputs, inverted = stack_frames(frames)
        pictures: Tensor = self._frames(inputs, inverted, nets, form, size)
        return pictures

    @torch.inference_mode()
    def enter(self, entry: ColourEntry, noise: Tensor, pictures: Tensor, strength: Tensor) -> Tensor:
        start: Tensor = entry(noise, pictures, strength)
        return start

    def sizes(self, offered: Sequence[Size]) -> Sequence[Size]:
        return offered

    def prepare(self, nets: tuple[int, ...], size: Size) -> None:
        """Nothing is compiled."""

    def weights_changed(self, tag: str) -> None:
        """The weights are read at each call."""
