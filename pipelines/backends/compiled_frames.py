"""The frame graph with its parts compiled, each for itself: every choice of controls is put together from the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pipelines.frame_graph import Form, to_bytes, to_control
from pipelines.graph import PaintGraph, PaintInputs

#: Something callable to something quicker that gives the same: ``torch.compile`` with its options.
Compile = Callable[[Any], Any]


class CompiledFrames:
    """A FrameGraph over ``graph``, whose networks are replaced by compiled ones.

    Each network, the decoder and the byte conversions are compiled once for each batch size and map size, as all they
    get has strides that depend on these alone.
    """

    def __init__(self, graph: PaintGraph, compile_: Compile) -> None:
        graph.unet = _Guided(compile_(graph.unet))
        graph.controlnets = nn.ModuleList(_Regular(compile_(net)) for net in graph.controlnets)
        graph.decode = compile_(graph.decode)
        self._graph = graph
        self._to_control, self._to_bytes = compile_(to_control), compile_(to_bytes)

    def __call__(
        self, inputs: PaintInputs, inverted: Tensor, nets: Sequence[int], form: Form, size: tuple[int, int]
    ) -> Tensor:
        """As FrameGraph."""
        if nets:
            inputs = inputs.replace(maps=self._controls(inputs, inverted))
        pictures: Tensor = self._to_bytes(self._graph(inputs, nets), form, size)
        return pictures

    def _controls(self, inputs: PaintInputs, inverted: Tensor) -> Tensor:
        """Map by map, so that what is compiled fits any number of them."""
        maps, dtype = inputs.maps, inputs.noise.dtype
        controls = [
            self._to_control(maps[:, k : k + 1], inverted[:, k : k + 1], dtype) for k in range(inputs.maps.shape[1])
        ]
        if len(controls) == 1:
            return controls[0]
        return torch.cat([control[:, :, :1] for control in controls], 1).expand(-1, -1, 3, -1, -1)


class _Regular(nn.Module):
    """A network whose condition map and scale have the same strides in any company."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, *given: Tensor, controlnet_cond: Tensor, conditioning_scale: Tensor, **named: Any) -> Any:
        regular = {"controlnet_cond": _regular_map(controlnet_cond), "conditioning_scale": _regular(conditioning_scale)}
        return self.net(*given, **regular, **named)


class _Guided(nn.Module):
    """A U-Net that always takes residuals: for text alone they are zeros, so that nothing is compiled for it.

    Their shapes are those that came before for the same batch. Without any, there are none for text alone either.
    """

    def __init__(self, unet: Any) -> None:
        super().__init__()
        self.unet = unet
        self._shapes: dict[torch.Size, list[torch.Size]] = {}

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor,
        *,
        down_block_additional_residuals: Sequence[Tensor] | None,
        mid_block_additional_residual: Tensor | None,
        **named: Any,
    ) -> Any:
        if down_block_additional_residuals is not None and mid_block_additional_residual is not None:
            residuals = [_regular(each) for each in (*down_block_additional_residuals, mid_block_additional_residual)]
            self._shapes[sample.shape] = [each.shape for each in residuals]
        else:
            # Zeroed anew in every frame: a write at the memory's full speed, and no memory that only they have.
            residuals = [_regular(sample.new_zeros(shape)) for shape in self._shapes.get(sample.shape, ())]
        return self.unet(
            sample,
            timestep,
            down_block_additional_residuals=residuals[:-1] or None,
            mid_block_additional_residual=residuals[-1] if residuals else None,
            **named,
        )


def _regular_map(maps: Tensor) -> Tensor:
    """The same for B×3×H×W whose channels are one and the same memory: they stay that."""
    if maps.stride(1):
        return _regular(maps)
    return _regular(maps[:, :1]).expand_as(maps)


def _regular(tensor: Tensor) -> Tensor:
    """B×C×H×W, channels last, with strides that the shape alone decides: axes of one element have theirs too."""
    _, channels, height, width = tensor.shape
    strides = (channels * height * width, 1, width * channels, channels)
    return tensor.contiguous(memory_format=torch.channels_last).as_strided(tensor.shape, strides)
