"""What a network costs, counted on the meta device: no weights, no memory, no quoted figures.

FLOPs: ``torch.utils.flop_counter`` over one forward pass. Kept bytes: the tensors that autograd saves for the backward
pass, each storage once, without the weights; float32. Attention is counted as fused kernels keep it, which save their
inputs and output but not the matrix between them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of one sample. ``flops``: of a forward pass, a multiplication and an addition being two. ``kept``: bytes for the
    backward pass to the weights; ``through``: to the input alone; ``block``: of these the largest block's, which
    gradient checkpointing computes again, one block at a time; ``inputs``: what it keeps instead."""

    parameters: int
    flops: int
    kept: int
    through: int
    block: int
    inputs: int


def cost_of(module: nn.Module, call: Callable[[Any, bool], Any]) -> Cost:
    """``module``: on the meta device. ``call(module, wanted)``: a forward pass of one sample; its inputs require
    gradients where ``wanted``."""
    module.requires_grad_(True)
    with FlopCounterMode(display=False) as counter, torch.no_grad(), _Fused():
        call(module, False)
    kept, block = _kept(module, lambda: call(module, False))
    module.requires_grad_(False)
    through, _ = _kept(module, lambda: call(module, True))
    return Cost(
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        flops=int(counter.get_total_flops()),
        kept=kept,
        through=through,
        block=block,
        inputs=_block_inputs(module, lambda: call(module, False)),
    )


def _kept(module: nn.Module, run: Callable[[], Any]) -> tuple[int, int]:
    """Bytes that a forward pass leaves for the backward one, and those of its largest block."""
    weights = {each.untyped_storage()._cdata for each in (*module.parameters(), *module.buffers())}
    kept: dict[int, Any] = {}  # the storages themselves: a freed one's place would be taken by the next

    def pack(saved: Tensor) -> Tensor:
        storage = saved.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = storage
        return saved

    sizes: list[int] = []
    with _watched(module, lambda: sizes.append(_bytes(kept))), saved_tensors_hooks(pack, lambda saved: saved), _Fused():
        run()
    largest = max((after - before for before, after in zip(sizes[::2], sizes[1::2], strict=True)), default=0)
    return _bytes(kept), largest or _bytes(kept)


def _block_inputs(module: nn.Module, run: Callable[[], Any]) -> int:
    """Bytes of what enters each block: what is kept where blocks are computed again."""
    found: list[int] = []

    def note(_: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        tensors = [each for each in (*given, *named.values()) if isinstance(each, Tensor)]
        found.append(sum(each.untyped_storage().nbytes() for each in tensors))

    handles = [each.register_forward_pre_hook(note, with_kwargs=True) for each in _blocks(module)]
    try:
        with torch.no_grad():
            run()
    finally:
        for handle in handles:
            handle.remove()
    return sum(found)


@contextmanager
def _watched(module: nn.Module, look: Callable[[], None]) -> Iterator[None]:
    """``look`` is called before and after each of the blocks that gradient checkpointing computes again."""
    handles = []
    for each in _blocks(module):
        handles.append(each.register_forward_pre_hook(lambda *_: look()))
        handles.append(each.register_forward_hook(lambda *_: look()))
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
