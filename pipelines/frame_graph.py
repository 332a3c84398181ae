"""The frame path as one module: uint8 maps in, uint8 pictures out, everything in between on the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipelines.graph import PaintGraph, PaintInputs

#: ``rgb``: uint8 B×H×W×3. ``yuv``: the planes of I420, which video encoders take, uint8 B×(3H/2)×W: H rows of Y, then
#: U and V at half the sides, each filling H/4 rows.
Form = Literal["rgb", "yuv"]
FORMS: tuple[Form, ...] = get_args(Form)

#: R, G and B in [0, 1] to Y, U and V in 8-bit video range (ITU-R BT.601, section 3.5.1), the offsets last.
BT601 = (
    (65.481, 128.553, 24.966, 16.0),
    (-37.797, -74.203, 112.0, 128.0),
    (112.0, -93.786, -18.214, 128.0),
)


class FrameGraph(nn.Module):
    """``forward(inputs, inverted, nets, form, size)``.

    ``inputs``: those of PaintGraph, but ``maps`` uint8 B×K×h×w as they were drawn. ``inverted`` B×K: 255 for a map
    whose ControlNet wants the other polarity, 0 for the others. ``size``: (height, width) of the pictures, to which
    smaller ones are scaled up.
    """

    def __init__(self, paint: PaintGraph) -> None:
        super().__init__()
        self.paint = paint

    def forward(
        self, inputs: PaintInputs, inverted: Tensor, nets: Sequence[int], form: Form, size: tuple[int, int]
    ) -> Tensor:
        control = to_control(inputs.maps, inverted, inputs.noise.dtype)
        pictures: Tensor = self.paint(inputs.replace(maps=control), nets)
        return to_bytes(pictures, form, size)


def to_control(maps: Tensor, inverted: Tensor, dtype: torch.dtype) -> Tensor:
    """uint8 B×K×H×W to B×K×3×H×W in [0, 1], those inverted whose ``inverted`` (B×K) is 255 and not 0."""
    # |x - 255| is 255 - x, exactly, in half precision too.
    upright = (maps.to(dtype) - inverted.to(dtype)[:, :, None, None]).abs() / 255
    return upright[:, :, None].expand(-1, -1, 3, -1, -1)


def to_bytes(pictures: Tensor, form: Form, size: tuple[int, int]) -> Tensor:
    """B×3×H×W in [0, 1] to uint8 in ``form``, scaled to ``size``, which has even sides."""
    if pictures.shape[-2:] != size:
        pictures = F.interpolate(pictures, size=size, mode="bilinear", align_corners=False)
    return _to_rgb(pictures) if form == "rgb" else _to_i420(pictures)


def _to_rgb(pictures: Tensor) -> Tensor:
    return (pictures * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def _to_i420(pictures: Tensor) -> Tensor:
    """Colour is averaged over 2×2 pixels, as libswscale does."""
    halved = F.avg_pool2d(pictures, 2)
    planes = [_plane(pictures, row) if i == 0 else _plane(halved, row) for i, row in enumerate(BT601)]
    return torch.cat([plane.flatten(1) for plane in planes], 1).unflatten(1, (-1, pictures.shape[-1]))


def _plane(pictures: Tensor, row: Sequence[float]) -> Tensor:
    red, green, blue, offset = row
    # Half precision has steps of 1/8 at 128 to 255: within half a grey level.
    value = pictures[:, 0] * red + pictures[:, 1] * green + pictures[:, 2] * blue + offset
    return value.round().to(torch.uint8)
