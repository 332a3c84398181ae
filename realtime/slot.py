"""Slot: the buffers and events of one batch in flight, allocated once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from realtime.streams import Streams


class Slot:
    """Host and device buffers for up to ``capacity`` pictures of ``size`` (height, width), and the events between them.

    Host buffers are pinned on a CUDA machine, so that the copies run beside the host. ``count`` is the number of
    pictures in flight; 0 means that the slot is free.
    """

    def __init__(self, *, capacity: int, size: tuple[int, int], device: torch.device, streams: Streams) -> None:
        height, width = size
        pinned = device.type == "cuda"
        self.capacity = capacity
        self.count = 0
        self.host_in = torch.zeros(capacity, height, width, dtype=torch.uint8, pin_memory=pinned)
        self.host_out = torch.zeros(capacity, height, width, 3, dtype=torch.uint8, pin_memory=pinned)
        self.device_in = torch.empty(capacity, height, width, dtype=torch.uint8, device=device)
        self.device_out = torch.empty(capacity, height, width, 3, dtype=torch.uint8, device=device)
        self.uploaded = streams.event()
        self.started = streams.event()
        self.computed = streams.event()
        self.downloaded = streams.event()
        self._in = self.host_in.numpy()
        self._out = self.host_out.numpy()

    def fill(self, conditions: Sequence[NDArray[np.uint8]]) -> None:
        """Copy uint8 H×W maps into the host buffer."""
        for row, condition in enumerate(conditions):
            self._in[row] = condition

    def pictures(self) -> list[NDArray[np.uint8]]:
        """The downloaded pictures, uint8 H×W×3, copied: the slot is used again."""
        return [picture.copy() for picture in self._out[: self.count]]
