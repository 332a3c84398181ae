"""The frame graph in pieces, each compiled for itself: every choice of controls is put together from the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pipelines.frame_graph import Form, to_bytes, to_control
from pipelines.graph import PaintGraph, PaintInputs
from pipelines.split import Ascent, Control, Descent, Features

#: Something callable to something quicker that gives the same: ``torch.compile`` with its options.
Compile = Callable[[Any], Any]


class CompiledFrames:
    """A FrameGraph over the folded ``graph``: first ``descend``, then, for each frame, a call.

    Each piece is compiled once for each batch size and map size, as all it gets has strides that depend on these alone.
    """

    def __init__(self, graph: PaintGraph, compile_: Compile) -> None:
        self._descent = compile_(Descent(graph))
        self._guides = [compile_(_Guide(net, graph)) for net in graph.controlnets]
        self._ascent = compile_(Ascent(graph))
        self._to_control, self._to_bytes = compile_(to_control), compile_(to_bytes)

    def descend(self, inputs: PaintInputs) -> Features:
        """What no map reaches: the same until a noise or a prompt changes."""
        features: Features = self._descent(inputs.noise, inputs.embeddings, inputs.temb)
        return features

    def __call__(
        self,
        inputs: PaintInputs,
        features: Features,
        inverted: Tensor,
        nets: Sequence[int],
        form: Form,
        size: tuple[int, int],
    ) -> Tensor:
        """As FrameGraph, ``features`` being those of ``descend`` for the same noise and prompts."""
        given = inputs.noise, inputs.embeddings, inputs.temb
        features = tuple(_regular(each) for each in features)
        for k, net in enumerate(nets):
            scale = inputs.scales[:, k, None, None, None]
            added = self._guides[net](self._control(inputs, inverted, k), _regular(scale), *given, *features)
            features = tuple(_regular(each) for each in added)
        painted: Tensor = self._to_bytes(self._ascent(*given, *features), form, size)
        return painted

    def _control(self, inputs: PaintInputs, inverted: Tensor, k: int) -> Tensor:
        """Map by map, so that what is compiled fits any number of them."""
        control = self._to_control(inputs.maps[:, k : k + 1], inverted[:, k : k + 1], inputs.noise.dtype)
        # The three channels are one and the same memory, and stay that.
        return _regular(control[:, 0, :1]).expand(-1, 3, -1, -1)


class _Guide(nn.Module):
    """Features with what a ControlNet adds to them: one piece, so that the sums cost no pass of their own."""

    def __init__(self, net: Any, graph: PaintGraph) -> None:
        super().__init__()
        self.control = Control(net, graph.step)

    def forward(
        self, maps: Tensor, scales: Tensor, noise: Tensor, embeddings: Tensor, temb: Tensor, *features: Tensor
    ) -> Features:
        added = self.control(maps, scales, noise, embeddings, temb)
        return tuple(own + more for own, more in zip(features, added, strict=True))


def _regular(tensor: Tensor) -> Tensor:
    """B×C×H×W, channels last, with strides that the shape alone decides: axes of one element have theirs too."""
    _, channels, height, width = tensor.shape
    strides = (channels * height * width, 1, width * channels, channels)
    return tensor.contiguous(memory_format=torch.channels_last).as_strided(tensor.shape, strides)
