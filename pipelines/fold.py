"""Folding: what a frame's networks would compute again and again is taken out of them and done once a prompt.

The timestep never changes and a prompt seldom does, so their share of each layer is a constant: the time embedding's
shift of every ResNet block, and the keys and values of every cross-attention. One matrix product gives all of them.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipelines.errors import BackendError
from pipelines.graph import PaintGraph
from pipelines.prompt import Embedding


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Constants:
    """What one prompt stands for in a graph, as rows of ``PaintInputs``.

    ``embeddings`` L×S and ``temb`` T of a folded graph; L×D, with ``pooled`` P and ``time_ids`` 6 of the SDXL family,
    of a graph as it is.
    """

    embeddings: Tensor
    temb: Tensor | None = None
    pooled: Tensor | None = None
    time_ids: Tensor | None = None


class Folded:
    """A copy of ``graph`` without its constant work. Weights are shared; those that had to be joined are copies.

    ``graph`` here is a PaintGraph like the original, whose inputs are ``Constants`` of this class. Raises BackendError
    for networks that can't be folded.
    """

    def __init__(self, graph: PaintGraph) -> None:
        self._originals = [graph.unet, *graph.controlnets]
        self._timestep = graph.step.timestep
        self.graph = _twin(graph)
        networks = [self.graph.unet, *self.graph.controlnets]
        self._joined = [_join_self_attention(attention) for net in networks for attention in _self_attentions(net)]
        self._context = _Stack(
            [
                layer
                for net in networks
                for attention in _cross_attentions(net)
                for layer in (attention.to_k, attention.to_v)
            ]
        )
        # Of the originals: the folded copies have them no more.
        self._shifts = [_Stack([block.time_emb_proj for block in _resnets(net)]) for net in self._originals]
        self._route(networks)
        #: S and T.
        self.context_width, self.temb_width = self._context.width, sum(stack.width for stack in self._shifts)
        self.refresh()

    @torch.inference_mode()
    def constants(self, embedding: Embedding, time_ids: Tensor | None = None) -> Constants:
        """The rows for one prompt; ``time_ids`` 6, of the SDXL family."""
        tokens = embedding.tokens.to(self._context.weight.dtype)
        shifts = [
            stack(F.silu(_time_embedding(net, self._timestep, tokens, embedding.pooled, time_ids)))[0]
            for net, stack in zip(self._originals, self._shifts, strict=True)
        ]
        return Constants(embeddings=self._context(tokens), temb=torch.cat(shifts))

    @torch.inference_mode()
    def refresh(self) -> None:
        """Take over weights that were changed in place. ``Constants`` from before are worthless then."""
        for attention in self._joined:
            _copy_joined(attention)
        for stack in (self._context, *self._shifts):
            stack.refresh()

    def _route(self, networks: Sequence[Any]) -> None:
        """Tell every layer which columns of the inputs are its own, in the order of the stacks."""
        context = temb = 0
        for net in networks:
            for attention in _cross_attentions(net):
                attention.set_processor(_GivenContext(context, attention.to_k.out_features))
                context += 2 * attention.to_k.out_features
            for block in _resnets(net):
                block.time_emb_proj = _Columns(temb, block.time_emb_proj.out_features)
                block.skip_time_act = True
                temb += block.time_emb_proj.width
            net.time_embedding = _GivenTime()
            # It is part of the constants; the network is not to look for its inputs.
            net.register_to_config(addition_embed_type=None)


class _Stack:
    """Linear layers that all read the same input, as one. A copy, so it is refreshed when they change."""

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        self._layers = layers
        self.width = sum(layer.out_features for layer in layers)
        self.weight = torch.empty(0)
        self._bias: Tensor | None = None
        self.refresh()

    def __call__(self, rows: Tensor) -> Tensor:
        return F.linear(rows, self.weight, self._bias)

    def refresh(self) -> None:
        if not self._layers:
            return
        self.weight = torch.cat([layer.weight for layer in self._layers]).detach()
        if any(layer.bias is not None for layer in self._layers):
            self._bias = torch.cat([_bias(layer) for layer in self._layers]).detach()


class _Columns(nn.Module):
    """In the place of a ResNet block's projection of the time embedding: its columns of ``temb`` B×T."""

    def __init__(self, start: int, width: int) -> None:
        super().__init__()
        self.start, self.width = start, width

    def forward(self, temb: Tensor) -> Tensor:
        return temb[:, self.start : self.start + self.width]


class _GivenTime(nn.Module):
    """In the place of a network's time embedding: what is handed in as ``timestep_cond``."""

    def forward(self, _: Tensor, condition: Tensor) -> Tensor:
        return condition


class _GivenContext:
    """An attention processor: keys and values are columns of the input that the text would come in."""

    def __init__(self, start: int, width: int) -> None:
        self._start, self._width = start, width

    def __call__(
        self, attention: Any, hidden_states: Tensor, encoder_hidden_states: Tensor, *_: object, **__: object
    ) -> Tensor:
        middle = self._start + self._width
        key = encoder_hidden_states[..., self._start : middle]
        value = encoder_hidden_states[..., middle : middle + self._width]
        return _attend(attention, attention.to_q(hidden_states), key, value)


class _JoinedProjections:
    """An attention processor: query, key and value in one product."""

    def __call__(self, attention: Any, hidden_states: Tensor, *_: object, **__: object) -> Tensor:
        query, key, value = attention.to_qkv(hidden_states).chunk(3, dim=-1)
        return _attend(attention, query, key, value)


def _attend(attention: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    batch, length, width = query.shape
    heads = (attention.heads, width // attention.heads)
    split = [each.unflatten(-1, heads).transpose(1, 2) for each in (query, key, value)]
    attended = F.scaled_dot_product_attention(*split).transpose(1, 2).reshape(batch, length, width)
    projected: Tensor = attention.to_out[0](attended)
    return projected


def _twin(graph: PaintGraph) -> PaintGraph:
    """A copy of the structure around the same weights."""
    kept = {id(tensor): tensor for tensor in (*graph.parameters(), *graph.buffers())}
    return copy.deepcopy(graph, kept)


def _self_attentions(net: nn.Module) -> Iterator[Any]:
    return (attention for attention in _attentions(net) if not attention.is_cross_attention)


def _cross_attentions(net: nn.Module) -> Iterator[Any]:
    return (attention for attention in _attentions(net) if attention.is_cross_attention)


def _attentions(net: nn.Module) -> Iterator[Any]:
    """Raises BackendError for a form that the models of this tool don't have."""
    from diffusers.models.attention_processor import Attention

    for name, attention in net.named_modules():
        if not isinstance(attention, Attention):
            continue
        if _is_odd(attention):
            raise BackendError(f"The attention {name} is of a form that can't be folded; use --backend eager.")
        yield attention


def _is_odd(attention: Any) -> bool:
    return bool(
        attention.norm_q or attention.norm_k or attention.norm_cross or attention.group_norm or attention.spatial_norm
    )


def _resnets(net: nn.Module) -> list[Any]:
    from diffusers.models.resnet import ResnetBlock2D

    return [block for block in net.modules() if isinstance(block, ResnetBlock2D) and block.time_emb_proj is not None]


def _join_self_attention(attention: Any) -> Any:
    layers = (attention.to_q, attention.to_k, attention.to_v)
    has_bias = any(layer.bias is not None for layer in layers)
    weight = attention.to_q.weight
    attention.to_qkv = nn.Linear(
        weight.shape[1], 3 * weight.shape[0], bias=has_bias, device=weight.device, dtype=weight.dtype
    ).requires_grad_(False)
    attention.set_processor(_JoinedProjections())
    return attention


def _copy_joined(attention: Any) -> None:
    """In place: a captured CUDA graph reads these very tensors."""
    layers = (attention.to_q, attention.to_k, attention.to_v)
    attention.to_qkv.weight.copy_(torch.cat([layer.weight for layer in layers]))
    if attention.to_qkv.bias is not None:
        attention.to_qkv.bias.copy_(torch.cat([_bias(layer) for layer in layers]))


def _bias(layer: nn.Linear) -> Tensor:
    return layer.bias if layer.bias is not None else layer.weight.new_zeros(layer.out_features)


def _time_embedding(net: Any, timestep: int, tokens: Tensor, pooled: Tensor | None, time_ids: Tensor | None) -> Tensor:
    """1×D: of the timestep, and of what the network adds to it (``addition_embed_type``), as diffusers computes it."""
    # Filled by the device; a copy from the host would wait for it.
    steps = torch.full((1,), timestep, dtype=torch.int64, device=tokens.device)
    emb: Tensor = net.time_embedding(net.time_proj(steps).to(tokens.dtype))
    added = net.config.addition_embed_type
    if added == "text":
        return emb + net.add_embedding(tokens[None])
    if added == "text_time" and pooled is not None and time_ids is not None:
        sizes = net.add_time_proj(time_ids.flatten()).reshape(1, -1)
        return emb + net.add_embedding(torch.cat([pooled[None], sizes], -1).to(tokens.dtype))
    if added is not None:
        raise BackendError(f"A network that adds {added!r} to its time embedding can't be folded; use --backend eager.")
    return emb
