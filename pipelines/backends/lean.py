"""Networks with less work in them for the same numbers: what is linear and follows on something linear is one layer.

Two places where tiny models have that at full resolution (the embedded model has the second; one with a decoder of
taesd's kind has both, and a CPU spent a third of a frame there):

* A decoder that ends in an upsampling and two convolutions, with nothing between them (``AutoencoderTiny`` without a
  block in its last stage): together a 5×5 convolution of a picture doubled by repetition, which is a 3×3 convolution of
  the small one with an output for each of the four places of a pixel. (Sub-pixel convolution: arXiv 1609.05158.)
* A ControlNet's first convolution of a grey map in three equal channels: one channel and the sum of the weights.
"""

from __future__ import annotations

import copy
import itertools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipelines.graph import PaintGraph


def shorten_decoder(graph: PaintGraph) -> None:
    """Merge the end of ``graph``'s decoder, in place, where it has such an end."""
    layers = getattr(getattr(graph.decode.vae, "decoder", None), "layers", None)
    if isinstance(layers, nn.Sequential) and len(layers) > 3 and _ends_linear(layers):
        graph.decode.vae.decoder.layers = nn.Sequential(*layers[:-3], DoublingEnd(layers[-2], layers[-1]))


def grey(net: Any) -> Any:
    """A copy of the ControlNet ``net``, around the same weights, whose map has one channel."""
    kept = {id(tensor): tensor for tensor in (*net.parameters(), *net.buffers())}
    twin = copy.deepcopy(net, kept)
    embedding = twin.controlnet_cond_embedding
    old = embedding.conv_in
    new = nn.Conv2d(1, old.out_channels, old.kernel_size, padding=old.padding, bias=False)
    new.weight = nn.Parameter(old.weight.sum(1, keepdim=True), requires_grad=False)
    new.bias = old.bias
    embedding.conv_in = new
    return twin


class DoublingEnd(nn.Module):
    """Doubling by repetition, then ``first`` and ``second`` (3×3 with a border of zeros, ``first`` without bias).

    The merged layer also sees what ``first`` would answer just outside of the picture, where ``second`` sees zeros:
    that share is taken off again at the four borders.
    """

    def __init__(self, first: Any, second: Any) -> None:
        super().__init__()
        colours = second.out_channels
        self.merged = nn.Conv2d(first.in_channels, 4 * colours, 3, padding=1)
        # In the order of F.pixel_shuffle: the four places of a pixel lie side by side.
        weight = torch.stack(_by_place(_merge(first.weight, second.weight)), 1).flatten(0, 1)
        self.merged.weight = nn.Parameter(weight.contiguous(), requires_grad=False)
        bias = second.bias if second.bias is not None else weight.new_zeros(colours)
        self.merged.bias = nn.Parameter(bias.repeat_interleave(4), requires_grad=False)
        self.first, self.second = first, second

    def forward(self, small: Tensor) -> Tensor:
        pictures = F.pixel_shuffle(self.merged(small), 2)
        # What ``first`` answers one row or column further out, and what ``second`` makes of that.
        first, second = self.first.weight, self.second.weight
        above = _row(small[:, :, :1], first[:, :, 2:], second[:, :, :1])
        below = _row(small[:, :, -1:], first[:, :, :1], second[:, :, 2:])
        left = _column(small[..., :1], first[..., 2:], second[..., :1])
        right = _column(small[..., -1:], first[..., :1], second[..., 2:])
        inner = torch.cat([pictures[..., :1] - left, pictures[..., 1:-1], pictures[..., -1:] - right], -1)
        return torch.cat([inner[:, :, :1] - above, inner[:, :, 1:-1], inner[:, :, -1:] - below], -2)


def _row(row: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """With both corners outside of the picture."""
    return F.conv2d(F.conv2d(row.repeat_interleave(2, -1), first, padding=(0, 2)), second)


def _column(column: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Without them."""
    return F.conv2d(F.conv2d(column.repeat_interleave(2, -2), first, padding=(1, 0)), second, padding=(1, 0))


def _ends_linear(layers: nn.Sequential) -> bool:
    double, first, second = layers[-3:]
    return (
        isinstance(double, nn.Upsample)
        and double.mode == "nearest"
        and double.scale_factor in (2, 2.0)
        and all(_is_plain(layer) for layer in (first, second))
        and isinstance(first, nn.Conv2d)
        and first.bias is None
    )


def _is_plain(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv2d) and (layer.kernel_size, layer.padding, layer.stride, layer.groups) == (
        (3, 3),
        (1, 1),
        (1, 1),
        1,
    )


def _merge(first: Tensor, second: Tensor) -> Tensor:
    """The 5×5 kernel of one 3×3 convolution after another."""
    merged = first.new_zeros(second.shape[0], first.shape[1], 5, 5)
    for y, x in itertools.product(range(3), repeat=2):
        merged[:, :, y : y + 3, x : x + 3] += torch.einsum("om,mikl->oikl", second[:, :, y, x], first)
    return merged


def _by_place(kernel: Tensor) -> list[Tensor]:
    """For each of the four places in a pixel, the 3×3 kernel on the small picture that ``kernel`` on the doubled is."""
    places = []
    for row, column in itertools.product(range(2), repeat=2):
        small = kernel.new_zeros(*kernel.shape[:2], 3, 3)
        for y, x in itertools.product(range(5), repeat=2):
            small[:, :, (row + y - 2) // 2 + 1, (column + x - 2) // 2 + 1] += kernel[:, :, y, x]
        places.append(small)
    return places
