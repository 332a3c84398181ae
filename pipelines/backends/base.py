"""The protocol of a backend."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from pipelines.graph import PaintInputs


class Backend(Protocol):
    """Runs a PaintGraph; arguments, shapes and ranges are those of ``PaintGraph.forward``."""

    name: str

    def __call__(self, inputs: PaintInputs, nets: tuple[int, ...]) -> Tensor: ...

    def prepare(self, nets: tuple[int, ...]) -> None:
        """Do now what the first picture with these ControlNets would otherwise wait for."""

    def weights_changed(self, tag: str) -> None:
        """The graph's weights were changed in place; the same ``tag`` always stands for the same weights."""
