"""Slot: the buffers and events of one batch in flight, allocated once."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.frame_graph import Form
from realtime.fit import COLOUR_SHRINK
from realtime.streams import Streams

Array = NDArray[np.uint8]


class Slot:
    """Host and device buffers for up to ``capacity`` pictures, and the events between them.

    Each picture comes with up to ``planes`` condition maps of one of ``sizes`` ((height, width), the largest first),
    and is painted at the first of them in ``form``. Batches differ in number and size of their maps, so these buffers
    are flat and viewed as what the batch is: any batch is one contiguous piece, and one copy. Host buffers are pinned
    on a CUDA machine, so that the copies run beside the host. Where the device is the host and does its work at once,
    both are the same memory and nothing is copied: PyTorch's own copies are shared out among threads, which on busy
    cores takes milliseconds. ``count`` is the number of pictures in flight; 0 means
    that the slot is free.
    """

    def __init__(
        self,
        *,
        capacity: int,
        planes: int,
        sizes: Sequence[tuple[int, int]],
        form: Form = "rgb",
        device: torch.device,
        streams: Streams,
    ) -> None:
        self._sizes = tuple(sizes)
        self._planes = planes
        height, width = sizes[0]
        picture = (height, width, 3) if form == "rgb" else (height * 3 // 2, width)
        self.count = 0
        self._is_shared = streams.depth == 1 and device.type == "cpu"
        self._host_maps, self._device_maps = self._pair((capacity * planes * height * width,), device)
        small = height // COLOUR_SHRINK * (width // COLOUR_SHRINK) * 3
        self._host_colours, self._device_colours = self._pair((capacity * small,), device)
        self._host_out, self._device_out = self._pair((capacity, *picture), device)
        #: What the model takes, on the device: uint8 B×K×h×w, and uint8 B×h/4×w/4×3 if a picture of the batch has any.
        self.maps = self._device_maps[:0]
        self.colours: torch.Tensor | None = None
        self.uploaded = streams.event()
        self.started = streams.event()
        self.computed = streams.event()
        self.downloaded = streams.event()

    def _pair(self, shape: tuple[int, ...], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """The same buffer on the host and on the device, uint8."""
        host = torch.zeros(shape, dtype=torch.uint8, pin_memory=device.type == "cuda")
        return host, host if self._is_shared else torch.empty(shape, dtype=torch.uint8, device=device)

    def fill(self, planes: Sequence[Array], colours: Sequence[Array | None]) -> None:
        """Copy K×h×w maps and the colours, if there are any, into the host buffers; a picture without any is black.

        Raises ValueError when the maps don't have the same shape or don't fit.
        """
        count, shape = len(planes), planes[0].shape
        if any(each.shape != shape for each in planes):
            raise ValueError(f"One batch has maps of one shape, not of {sorted({each.shape for each in planes})}.")
        if len(shape) != 3 or shape[0] > self._planes or shape[1:] not in self._sizes:
            raise ValueError(
                f"Maps of {list(shape)} don't fit: up to {self._planes} of {list(map(list, self._sizes))} are taken."
            )
        rows, self.maps = self._views(self._host_maps, self._device_maps, (count, *shape))
        for row, each in zip(rows, planes, strict=True):
            row[:] = each
        self.colours = self._fill_colours(colours, shape[1:]) if any(each is not None for each in colours) else None

    def _fill_colours(self, colours: Sequence[Array | None], size: tuple[int, ...]) -> torch.Tensor:
        small = (len(colours), *(side // COLOUR_SHRINK for side in size), 3)
        rows, used = self._views(self._host_colours, self._device_colours, small)
        for row, each in zip(rows, colours, strict=True):
            row[:] = 0 if each is None else each
        return used

    @staticmethod
    def _views(host: torch.Tensor, device: torch.Tensor, shape: tuple[int, ...]) -> tuple[Array, torch.Tensor]:
        """The beginning of both buffers in this shape."""
        used = math.prod(shape)
        return host[:used].numpy().reshape(shape), device[:used].view(shape)

    def upload(self) -> None:
        """Enqueue the copies to the device on the current stream."""
        if self._is_shared:
            return
        for device, host in ((self.maps, self._host_maps), (self.colours, self._host_colours)):
            if device is not None:
                device.view(-1).copy_(host[: device.numel()], non_blocking=True)

    def keep(self, pictures: torch.Tensor) -> None:
        """Enqueue the copy of the painted pictures into the slot, whose own the download reads.

        The pipeline's tensor is never used on another stream than that which made it.
        """
        if self._is_shared:  # it holds until the next call but one, and this slot is free before that
            self._host_out = pictures
        else:
            self._device_out[: len(pictures)].copy_(pictures)

    def download(self, count: int) -> None:
        """Enqueue the copy of the first ``count`` kept pictures to the host on the current stream."""
        if not self._is_shared:
            self._host_out[:count].copy_(self._device_out[:count], non_blocking=True)

    def pictures(self) -> list[Array]:
        """The downloaded pictures, copied: the slot is used again."""
        return [picture.copy() for picture in self._host_out[: self.count].numpy()]
