"""Running averages of weights: what is validated and shipped, smoother than the last step's (EMA)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor


class Averages:
    """Exponential averages of some networks' weights. ``decay`` 0 keeps none: the last weights are the average.

    Weights may be sharded (FSDP): the averages are sharded alike, and whole in ``state_dict``.
    """

    def __init__(self, networks: Mapping[str, nn.Module], decay: float) -> None:
        self.decay = decay
        self._live = {
            f"{name}.{key}": parameter
            for name, network in networks.items()
            for key, parameter in network.named_parameters()
        }
        self._kept = {key: value.detach().clone() for key, value in self._live.items()} if decay else {}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after ``step`` steps. Early ones are far from the last: they are forgotten quickly."""
        if not self._kept:
            return
        keep = min(self.decay, (1 + step) / (10 + step))
        live = [value.detach() for value in self._live.values()]
        torch._foreach_lerp_(list(self._kept.values()), live, 1 - keep)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The networks have their averaged weights inside, and their own again afterwards."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def state_dict(self) -> dict[str, Any]:
        """Whole tensors; every process has to call it."""
        return {key: value.full_tensor() if isinstance(value, DTensor) else value for key, value in self._kept.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take the averages of a checkpoint."""
        for key, kept in self._kept.items():
            value = state[key].to(kept.device)
            kept.copy_(
                distribute_tensor(value, kept.device_mesh, kept.placements) if isinstance(kept, DTensor) else value
            )

    @torch.no_grad()
    def _swap(self) -> None:
        for key, kept in self._kept.items():
            live = self._live[key]
            held = live.detach().clone()
            live.copy_(kept)
            kept.copy_(held)
