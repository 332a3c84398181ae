"""How maps come into an OpenVINO model and pictures leave it: what ``pipelines.frame_graph`` does, in its operations.

Written down rather than converted, as tracing the same few lines would take a second at each start.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pipelines.backends.base import Size
from pipelines.frame_graph import BT601, Form


def maps_in(count: int, channels: int, *, as_bytes: bool) -> Any:
    """``maps`` and ``scales`` B×K (and ``inverted`` B×K, 255 or 0) to the K maps, then the K scales, one by one.

    ``as_bytes``: maps are uint8 B×K×h×w, else numbers in [0, 1], B×K×C×h×w.
    """
    import openvino
    from openvino import opset13 as ops

    scales = ops.parameter([-1, count], np.float32, name="scales")
    inputs, each_scale = [scales], ops.split(scales, 1, count).outputs()
    if as_bytes:
        maps = ops.parameter([-1, count, -1, -1], np.uint8, name="maps")
        inverted = ops.parameter([-1, count], np.float32, name="inverted")
        turned = ops.subtract(ops.convert(maps, "f32"), ops.unsqueeze(inverted, np.array([2, 3])))
        each = ops.split(ops.multiply(ops.abs(turned), np.float32(1 / 255)), 1, count).outputs()
        inputs += [maps, inverted]
    else:
        maps = ops.parameter([-1, count, channels, -1, -1], np.float32, name="maps")
        each = [ops.squeeze(one, np.array([1])).output(0) for one in ops.split(maps, 1, count).outputs()]
        inputs += [maps]
    return openvino.Model([*each, *each_scale], inputs, "maps_in")


def pictures_out(form: Form, maps: Size, size: Size) -> Any:
    """``pictures`` B×3×h×w in [0, 1] to uint8 of ``form`` and ``size``."""
    import openvino
    from openvino import opset13 as ops

    pictures = ops.parameter([-1, 3, -1, -1], np.float32, name="pictures")
    full = pictures if maps == size else _scale(pictures, size)
    if form == "rgb":
        result = ops.transpose(_to_byte(ops.multiply(full, np.float32(255))), np.array([0, 2, 3, 1]))
    else:
        result = _planes(full, size)
    return openvino.Model([result], [pictures], "pictures_out")


def _planes(pictures: Any, size: Size) -> Any:
    from openvino import opset13 as ops

    zeros, twos, ones = [0, 0], [2, 2], [1, 1]
    halved = ops.avg_pool(pictures, twos, zeros, zeros, twos, exclude_pad=True)
    flat = []
    for source, rows in ((pictures, BT601[:1]), (halved, BT601[1:])):
        weights = np.array(rows, np.float32)
        mixed = ops.convolution(source, weights[:, :3, None, None], ones, zeros, zeros, ones)
        value = _to_byte(ops.add(mixed, weights[:, 3].reshape(1, -1, 1, 1)))
        flat.append(ops.reshape(value, np.array([0, -1]), special_zero=True))
    height, width = size
    return ops.reshape(ops.concat(flat, 1), np.array([0, height * 3 // 2, width]), special_zero=True)


def _to_byte(value: Any) -> Any:
    from openvino import opset13 as ops

    return ops.convert(ops.round(value, "half_to_even"), "u8")


def _scale(pictures: Any, size: Size) -> Any:
    from openvino import opset13 as ops

    return ops.interpolate(
        pictures,
        np.array(size),
        mode="linear_onnx",
        shape_calculation_mode="sizes",
        coordinate_transformation_mode="half_pixel",
        axes=np.array([2, 3]),
    )
