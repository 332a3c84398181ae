"""What a network costs, counted on the meta device: no weights, no memory, no quoted figures.

FLOPs: ``torch.utils.flop_counter`` over one forward pass. Kept bytes: the tensors that autograd saves for the backward
pass, each storage once, without the weights; float32. Attention is counted as fused kernels keep it, which save their
inputs and output but not the matrix between them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

Way = Literal["train", "through", "look"]


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of one sample. ``flops``: of a forward pass, a multiplication and an addition being two. ``kept``: bytes for the
    backward pass to the weights; ``through``: to the input alone; 0 where that wasn't asked for. ``inputs`` and
    ``block``: with gradient checkpointing, what enters each block is kept, and the largest block's own while that is
    computed again."""

    parameters: int
    flops: int
    kept: int = 0
    through: int = 0
    inputs: int = 0
    block: int = 0


@dataclass(frozen=True, kw_only=True)
class _Seen:
    flops: int
    kept: int
    inputs: int
    block: int


def cost_of(module: nn.Module, call: Callable[[Any, bool], Any], ways: Collection[Way]) -> Cost:
    """``module``: on the meta device. ``call(module, wanted)``: a forward pass of one sample, whose inputs require
    gradients where ``wanted``. ``ways``: what is asked for."""
    seen = {way: _look(module, call, way) for way in ways}
    counted = next(iter(seen.values()))
    graded = [each for way, each in seen.items() if way != "look"]
    return Cost(
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        flops=counted.flops,
        kept=seen["train"].kept if "train" in seen else 0,
        through=seen["through"].kept if "through" in seen else 0,
        inputs=counted.inputs,
        block=max((each.block for each in graded), default=0),
    )


def _look(module: nn.Module, call: Callable[[Any, bool], Any], way: Way) -> _Seen:
    """One forward pass, watched."""
    module.requires_grad_(way == "train")
    weights = {each.untyped_storage()._cdata for each in (*module.parameters(), *module.buffers())}
    kept: dict[int, Any] = {}  # the storages themselves: a freed one's place would be taken by the next
    blocks: list[tuple[int, int]] = []  # what entered, and what was kept until then
    ends: list[int] = []

    def pack(saved: Tensor) -> Tensor:
        storage = saved.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = storage
        return saved

    def enter(given: Any) -> None:
        blocks.append((sum(each.untyped_storage().nbytes() for each in given), _bytes(kept)))

    with (
        _watched(module, enter, lambda: ends.append(_bytes(kept))),
        saved_tensors_hooks(pack, lambda saved: saved),
        FlopCounterMode(display=False) as counter,
        torch.set_grad_enabled(way != "look"),
        _Fused(),
    ):
        call(module, way == "through")
    largest = max((end - begun for (_, begun), end in zip(blocks, ends, strict=True)), default=0)
    entered = sum(size for size, _ in blocks)
    return _Seen(flops=int(counter.get_total_flops()), kept=_bytes(kept), inputs=entered, block=largest)


@contextmanager
def _watched(module: nn.Module, enter: Callable[[Any], None], leave: Callable[[], None]) -> Iterator[None]:
    """``enter``, with its tensors, and ``leave`` are called around each of the blocks that checkpointing repeats."""

    def before(_: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        enter([each for each in (*given, *named.values()) if isinstance(each, Tensor)])

    handles = []
    for each in _blocks(module):
        handles.append(each.register_forward_pre_hook(before, with_kwargs=True))
        handles.append(each.register_forward_hook(lambda *_: leave()))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _blocks(module: nn.Module) -> list[nn.Module]:
    """Residual and transformer blocks: what diffusers checkpoints one by one."""
    kinds = {"ResnetBlock2D", "BasicTransformerBlock", "AutoencoderTinyBlock", "CLIPEncoderLayer"}
    return [each for each in module.modules() if type(each).__name__ in kinds]


def _bytes(storages: dict[int, Any]) -> int:
    return sum(int(each.nbytes()) for each in storages.values())


class _Fused(TorchFunctionMode):
    """Attention by the kernel that a GPU takes; on the meta device PyTorch falls back to the one that keeps all."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is functional.scaled_dot_product_attention and kwargs.get("attn_mask") is None and len(args) == 3:
            causal, scale = bool(kwargs.get("is_causal", False)), kwargs.get("scale")
            fused = torch.ops.aten._scaled_dot_product_efficient_attention
            return fused(*args, None, True, 0.0, causal, scale=scale)[0]
        return func(*args, **kwargs)
