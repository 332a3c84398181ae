"""Buffers that a recorded frame graph reads, filled in place: the same addresses for every frame.

What a row holds seldom changes: a prompt and a noise stay for thousands of frames. So a row is written only when what
it is to hold is another object, or another number, than what it holds.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pipelines.backends.base import FrameInputs
from pipelines.fold import Constants
from pipelines.graph import PaintInputs

Shape = tuple[int, ...]


class StaticInputs:
    """Room for batches of up to ``capacity`` frames, of any number of maps and any size; made when first needed.

    Batches of all sizes are the first rows of the same buffers. Rows behind a batch that is smaller than its graph hold
    what they held before, which is harmless: nothing in a frame graph mixes rows.
    """

    def __init__(self, *, capacity: int, device: torch.device, dtype: torch.dtype) -> None:
        self._capacity = capacity
        self._device = device
        self._dtype = dtype
        self._rows: dict[tuple[str, Shape], _Rows] = {}
        self._numbers: dict[tuple[str, int], _Numbers] = {}
        self._maps: dict[Shape, Tensor] = {}
        #: The shapes of the rows that came last.
        self._ends: dict[str, Shape] = {}

    def put(self, frames: FrameInputs) -> None:
        """Enqueue what has changed. Nothing is allocated for frames of a form that came before."""
        count, kinds, *size = frames.maps.shape
        for name, rows in {"noise": frames.noise, **_named(frames.constants)}.items():
            self._ends[name] = rows[0].shape
            self._rows_of(name, rows[0].shape).put(rows)
        self._numbers_of("scales", kinds).put(frames.scales)
        self._numbers_of("inverted", kinds).put([tuple(255.0 * each for each in row) for row in frames.inverted])
        if kinds:
            self._maps_of(kinds, tuple(size))[:, :count].copy_(frames.maps.transpose(0, 1), non_blocking=True)

    def views(self, batch: int, kinds: int, size: tuple[int, int]) -> tuple[PaintInputs, Tensor]:
        """The first ``batch`` rows as what a FrameGraph takes: PaintInputs with uint8 maps, and ``inverted``.

        A map's strides are the same however many maps there are: what was compiled for a ControlNet fits it in all
        company. Needs a ``put`` before, of any size.
        """
        channels, *_ = self._ends["noise"]
        inputs = PaintInputs(
            noise=self._rows_of("noise", (channels, size[0] // 8, size[1] // 8)).tensor[:batch],
            embeddings=self._rows_of("embeddings", self._ends["embeddings"]).tensor[:batch],
            temb=self._rows_of("temb", self._ends["temb"]).tensor[:batch],
            scales=self._numbers_of("scales", kinds).tensor[:, :batch].transpose(0, 1),
            maps=self._maps_of(kinds, size)[:, :batch].transpose(0, 1),
        )
        return inputs, self._numbers_of("inverted", kinds).tensor[:, :batch].transpose(0, 1)

    def _rows_of(self, name: str, shape: Shape) -> _Rows:
        key = (name, tuple(shape))
        if key not in self._rows:
            self._rows[key] = _Rows(self._empty((self._capacity, *shape), self._dtype))
        return self._rows[key]

    def _numbers_of(self, name: str, kinds: int) -> _Numbers:
        key = (name, kinds)
        if key not in self._numbers:
            self._numbers[key] = _Numbers(self._empty((kinds, self._capacity), self._dtype))
        return self._numbers[key]

    def _maps_of(self, kinds: int, size: Shape) -> Tensor:
        """K×B×H×W: a map's frames lie side by side, as its ControlNet reads them."""
        key = (kinds, *size)
        if key not in self._maps:
            self._maps[key] = self._empty((kinds, self._capacity, *size), torch.uint8)
        return self._maps[key]

    def _empty(self, shape: Shape, dtype: torch.dtype) -> Tensor:
        return torch.zeros(shape, device=self._device, dtype=dtype)


def _named(constants: Sequence[Constants]) -> dict[str, list[Tensor]]:
    """The rows of a folded graph's constants."""
    return {
        "embeddings": [each.embeddings for each in constants],
        "temb": [each.temb for each in constants if each.temb is not None],
    }


class _Rows:
    """B rows, each of which knows the tensor that it is a copy of, and keeps it, so that it is never mistaken."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        self._held: list[Tensor | None] = [None] * len(tensor)

    def put(self, rows: Sequence[Tensor]) -> None:
        for i, row in enumerate(rows):
            if self._held[i] is not row:
                self.tensor[i].copy_(row, non_blocking=True)
                self._held[i] = row


class _Numbers:
    """K×B numbers. Each goes to the device as an argument of the kernel that writes it: no buffer on the host could be
    written over while a copy from it is under way.
    """

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        self._held: list[tuple[float, ...] | None] = [None] * tensor.shape[1]

    def put(self, rows: Sequence[tuple[float, ...]]) -> None:
        for i, row in enumerate(rows):
            if self._held[i] != row:
                for k, number in enumerate(row):
                    self.tensor[k, i].fill_(number)
                self._held[i] = row
