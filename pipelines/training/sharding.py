"""Networks whose weights are spread over processes (FSDP2): whole where they are looked at or written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import FSDPModule


@contextmanager
def unsharded(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Parts of the modules may be called on their own inside, not through what was sharded. Nothing happens to whole
    ones."""
    spread = [part for module in modules for part in module.modules() if isinstance(part, FSDPModule)]
    for part in spread:
        part.unshard()
    try:
        yield
    finally:
        for part in spread:
            part.reshard()


def whole_weights(network: nn.Module) -> dict[str, Tensor]:
    """On the CPU, put together where they are spread; every process has to call it, and the first one gets them."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    state: dict[str, Any] = get_model_state_dict(network, options=options)
    return {key: value.detach().cpu().clone() for key, value in state.items()}
