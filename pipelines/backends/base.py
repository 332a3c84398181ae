"""The protocol of a backend."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from pipelines.colours import ColourEntry
from pipelines.fold import Constants
from pipelines.frame_graph import Form
from pipelines.graph import PaintInputs
from pipelines.prompt import Embedding

Size = tuple[int, int]

#: On a GPU company is nearly free. On a CPU a picture more takes its full time, which the others would wait for.
GPU_BATCHES = (1, 2, 4, 8, 16)
CPU_BATCHES = (1,)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FrameInputs:
    """What a batch of B frames with K maps each is painted from, row by row.

    ``maps`` uint8 B×K×h×w on the device. ``noise``: C×h/8×w/8 each. ``constants``: of this backend. ``scales`` and
    ``inverted``: K numbers each, the conditioning scales, and whether the map's polarity is not its ControlNet's.

    Rows of noise and constants that are the same object have the same content, so a backend with buffers of its own
    need not copy them again.
    """

    maps: Tensor
    noise: Sequence[Tensor]
    constants: Sequence[Constants]
    scales: Sequence[tuple[float, ...]]
    inverted: Sequence[tuple[bool, ...]]


class Backend(Protocol):
    """Runs a PaintGraph. One thread owns it."""

    name: str
    #: Decibels (peak signal-to-noise ratio) that its pictures keep to eager's; None where only rounding differs.
    least_psnr: float | None

    @property
    def batches(self) -> Sequence[int]:
        """The batch sizes that it is built for, rising; one between two of them costs as much as the larger."""

    def constants(self, embedding: Embedding, time_ids: Tensor | None) -> Constants:
        """What a prompt stands for in this backend's graph. Worthless after ``weights_changed``."""

    def __call__(self, inputs: PaintInputs, nets: tuple[int, ...]) -> Tensor:
        """``PaintGraph.forward`` with this backend's ``constants``: any batch, any size."""

    def paint(self, frames: FrameInputs, nets: tuple[int, ...], form: Form, size: Size) -> Tensor:
        """uint8 pictures of ``size`` in ``form``. What it returns may be written over by the next call but one."""

    def enter(self, entry: ColourEntry, noise: Tensor, pictures: Tensor, strength: Tensor) -> Tensor:
        """``entry(noise, pictures, strength)``; the entry is the same in all calls."""

    def sizes(self, offered: Sequence[Size]) -> Sequence[Size]:
        """Those of the (height, width) that it paints without a delay; the first of them always is."""

    def prepare(self, nets: tuple[int, ...], size: Size) -> None:
        """Do now what the first picture with these ControlNets, from maps of this size, would otherwise wait for."""

    def weights_changed(self, tag: str) -> None:
        """The graph's weights were changed in place; the same ``tag`` always stands for the same weights."""


def stack_rows(constants: Sequence[Constants]) -> dict[str, Tensor]:
    """The rows of a batch as fields of PaintInputs."""
    fields = [field.name for field in dataclasses.fields(Constants)]
    rows = {name: [getattr(each, name) for each in constants] for name in fields}
    return {name: torch.stack(row) for name, row in rows.items() if row[0] is not None}


def stack_frames(frames: FrameInputs) -> tuple[PaintInputs, Tensor]:
    """A batch as the inputs of a FrameGraph: its PaintInputs, with uint8 maps, and ``inverted``."""
    noise = torch.stack(list(frames.noise))
    inputs = PaintInputs(
        noise=noise,
        maps=frames.maps,
        scales=torch.tensor(frames.scales, dtype=noise.dtype, device=noise.device),
        **stack_rows(frames.constants),
    )
    inverted = [[255.0 if each else 0.0 for each in row] for row in frames.inverted]
    return inputs, torch.tensor(inverted, dtype=noise.dtype, device=noise.device)
