"""A CUDA stream beside the engine's, for work that frames don't wait for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

T = TypeVar("T")


class SideStream:
    """On a CUDA device: work given to ``run`` shares the device with the engine's three streams, unordered with them.

    On any other device there are no streams, and the work just runs.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def run(self, work: Callable[[], T]) -> T:
        """``work()`` on the calling thread, all its device work on this stream.

        What it returns must be on the host: copying it there has waited for this stream alone.
        """
        if self._stream is None:
            return work()
        # Weights may have been put on the device by the default stream, at warm-up on another thread.
        self._stream.wait_stream(torch.cuda.default_stream(self._device))
        with torch.cuda.stream(self._stream):
            return work()
