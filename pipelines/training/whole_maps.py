"""A start for the layers through which a ControlNet takes its map: every pixel of it arrives.

With random weights three strided convolutions blur thin lines before anything is learnt, and training spends its time
on undoing that. Here each of them lays 2×2 pixels beside each other in four times the channels (pixel unshuffle, Shi et
al., arXiv 1609.05158), so that the last holds the 8×8 pixels of its latent as they are; what channels are left over
start at random. All of it trains on.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

#: SiLU makes 1 of it, and 0 of 0: a line stays what it is through all layers.
_ONE = 1.2784645


@torch.no_grad()
def start_with_whole_maps(controlnet: Any) -> None:
    """Raises ValueError where the layers are too narrow: 1, 4, 16 and 64 channels are the least."""
    entry = controlnet.controlnet_cond_embedding
    layers = [entry.conv_in, *entry.blocks]
    widths = [entry.conv_in.out_channels, *(block.out_channels for block in entry.blocks[1::2])]
    if len(widths) != 4 or any(width < 4**stage for stage, width in enumerate(widths)):
        raise ValueError(f"A map's 8×8 pixels need 1, 4, 16 and 64 channels on their way, not {widths}.")
    for layer in layers:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    entry.conv_in.weight[0] = 0
    entry.conv_in.weight[0, :, 1, 1] = _ONE / entry.conv_in.in_channels
    kept = 1
    for even, strided in zip(entry.blocks[::2], entry.blocks[1::2], strict=True):
        _pass_on(even.weight, kept)
        _lay_beside(strided.weight, kept)
        kept *= 4
    nn.init.kaiming_normal_(entry.conv_out.weight)


def _pass_on(weight: Tensor, kept: int) -> None:
    weight[:kept] = 0
    for channel in range(kept):
        weight[channel, channel, 1, 1] = _ONE


def _lay_beside(weight: Tensor, kept: int) -> None:
    """Stride 2, padding 1: the taps 1 and 2 of each side see the pixels 2y and 2y + 1."""
    weight[: 4 * kept] = 0
    for channel in range(kept):
        for place in range(4):
            weight[4 * channel + place, channel, 1 + place // 2, 1 + place % 2] = _ONE
