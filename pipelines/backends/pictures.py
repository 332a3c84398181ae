"""Where recorded frame graphs write their pictures, and from where they are handed out."""

from __future__ import annotations

import torch
from torch import Tensor

from pipelines.backends.base import Size
from pipelines.frame_graph import Form

TURNS = 2


class Pictures:
    """uint8 pictures of one form and size. All graphs write ``written``; what is handed out is a copy, of two in turn.

    So a graph's address stays, and pictures hold until the next call but one.
    """

    def __init__(self, form: Form, size: Size, *, capacity: int, device: torch.device) -> None:
        height, width = size
        shape = (height, width, 3) if form == "rgb" else (height * 3 // 2, width)
        self.written, *self._turns = (
            torch.zeros((capacity, *shape), dtype=torch.uint8, device=device) for _ in range(1 + TURNS)
        )
        self._turn = 0

    def hand_out(self, count: int) -> Tensor:
        """The first ``count`` of those that were written last. The copy is enqueued on the current stream."""
        self._turn = (self._turn + 1) % TURNS
        return self._turns[self._turn][:count].copy_(self.written[:count], non_blocking=True)
