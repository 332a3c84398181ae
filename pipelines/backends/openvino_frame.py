"""The model of a frame: ControlNets and the U-Net's ascent joined, with the maps' way in and the pictures' way out."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

from pipelines.backends.base import Size
from pipelines.backends.openvino_convert import Join, add_up, convert
from pipelines.backends.openvino_pieces import Pieces
from pipelines.frame_graph import Form, to_bytes, to_control


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """What decides a frame's model.

    ``nets``: the ControlNet of each map. ``channels``: of a map, 1 or 3. ``maps``: their (height, width). ``form`` and
    ``size``: bytes in and out, of this size; None takes maps in [0, 1], B×K×C×h×w, and gives pictures in [0, 1].
    """

    nets: tuple[int, ...]
    channels: int
    maps: Size
    form: Form | None
    size: Size


def frame_model(pieces: Pieces, kind: Kind) -> Any:
    """Inputs: ``maps``, ``scales`` B×K and (for bytes) ``inverted`` B×K if there are maps; ``noise``, ``embeddings``,
    ``temb`` and the features of the Descent."""
    join, ascent = Join(), pieces.ascent()
    names = [each for each in (node.get_friendly_name() for node in ascent.get_parameters()) if "feature" in each]
    features = join.more(sorted(names, key=lambda name: int(name.removeprefix("feature"))), ascent)
    if kind.nets:
        count = len(kind.nets)
        ways = join.add(_entrance(count, kind))
        for k, net in enumerate(kind.nets):
            given = {"maps": ways[k], "scales": ways[count + k]}
            features = add_up(features, join.add(pieces.control(net, kind.channels), given))
    pictures = join.add(ascent, {f"feature{i}": each for i, each in enumerate(features)})
    if kind.form is not None:
        pictures = join.add(_exit(kind.form, kind.maps, kind.size), {"pictures": pictures[0]})
    return join.model(pictures)


class _BytesIn(nn.Module):
    def forward(self, maps: Tensor, inverted: Tensor, scales: Tensor) -> tuple[Tensor, ...]:
        control = to_control(maps, inverted, torch.float32)
        return *(each[:, :1] for each in control.unbind(1)), *scales.split(1, 1)


class _NumbersIn(nn.Module):
    def forward(self, maps: Tensor, scales: Tensor) -> tuple[Tensor, ...]:
        return *maps.unbind(1), *scales.split(1, 1)


class _BytesOut(nn.Module):
    def __init__(self, form: Form, size: Size) -> None:
        super().__init__()
        self.form, self.size = form, size

    def forward(self, pictures: Tensor) -> Tensor:
        return to_bytes(pictures, self.form, self.size)


def _entrance(count: int, kind: Kind) -> Any:
    """Each map by itself, then each one's scale."""
    scales = torch.ones(2, count)
    if kind.form is None:
        maps = torch.zeros(2, count, kind.channels, 32, 32)
        return convert(_NumbersIn(), {"maps": maps, "scales": scales})
    maps = torch.zeros(2, count, 32, 32, dtype=torch.uint8)
    return convert(_BytesIn(), {"maps": maps, "inverted": torch.zeros(2, count), "scales": scales})


def _exit(form: Form, maps: Size, size: Size) -> Any:
    return convert(_BytesOut(form, size), {"pictures": torch.zeros(2, 3, *maps)})
