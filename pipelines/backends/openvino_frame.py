"""The model of a frame: ControlNets and the U-Net's ascent joined, with the maps' way in and the pictures' way out."""

from __future__ import annotations

import dataclasses
from typing import Any

from pipelines.backends.base import Size
from pipelines.backends.openvino_convert import Join, add_up
from pipelines.backends.openvino_ends import maps_in, pictures_out
from pipelines.backends.openvino_pieces import Pieces
from pipelines.frame_graph import Form


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
        ways = join.add(maps_in(count, kind.channels, as_bytes=kind.form is not None))
        for k, net in enumerate(kind.nets):
            given = {"maps": ways[k], "scales": ways[count + k]}
            features = add_up(features, join.add(pieces.control(net, kind.channels), given))
    pictures = join.add(ascent, {f"feature{i}": each for i, each in enumerate(features)})
    if kind.form is not None:
        pictures = join.add(pictures_out(kind.form, kind.maps, kind.size), {"pictures": pictures[0]})
    return join.model(pictures)
