"""One fused OpenVINO graph of ControlNet, U-Net and decoder: the quickest way on a CPU."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from pipelines.backends.ir_cache import converted
from pipelines.errors import BackendError
from pipelines.graph import PaintGraph


class OpenVINOBackend:
    """Traces the graph once, for any batch and picture size, and compiles it for each size that comes."""

    name = "openvino"

    def __init__(self, graph: PaintGraph, device: torch.device) -> None:
        try:
            import openvino
        except ImportError as error:
            raise BackendError(
                f"OpenVINO can't be imported ({error}); pip install openvino, or use --backend eager."
            ) from None
        core, graph = openvino.Core(), graph.to(device).float()
        self._core = core
        self._model = converted(graph, core, lambda: _convert(graph, openvino), _save(openvino))
        # A graph without a ControlNet has no use for the map and its scale; the conversion drops such inputs.
        self._wanted = [_index_of(port) for port in self._model.inputs]
        self._requests: OrderedDict[tuple[tuple[int, ...], ...], Any] = OrderedDict()

    def __call__(self, control: Tensor, noise: Tensor, embeddings: Tensor, scale: Tensor) -> Tensor:
        given = (control, noise, embeddings, scale)
        inputs = [given[i].float().contiguous().numpy() for i in self._wanted]
        request = self._request(tuple(each.shape for each in inputs))
        return torch.from_numpy(request.infer(inputs, share_inputs=True, share_outputs=False)[0])

    def _request(self, shapes: tuple[tuple[int, ...], ...]) -> Any:
        """Compiled for just these shapes: half a second at a size's first picture, an eighth less time for each one."""
        if shapes not in self._requests:
            model = self._model.clone()
            model.reshape(dict(zip(model.inputs, map(list, shapes), strict=True)))
            self._requests[shapes] = self._core.compile_model(model, "CPU", _HINTS).create_infer_request()
            if len(self._requests) > _REMEMBER:
                self._requests.popitem(last=False)
        self._requests.move_to_end(shapes)
        return self._requests[shapes]


# f32 is asked for because chips with bf16 would otherwise use it: slower for these sizes, and 1e-2 off.
_HINTS = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
#: Shapes whose compiled graphs are kept.
_REMEMBER = 8
_INPUTS = ("control", "noise", "embeddings", "scale")


def _convert(graph: PaintGraph, openvino: ModuleType) -> Any:
    """Trace at a small size, with every axis that may change left dynamic."""
    channels = graph.latent_channels
    width = graph.context_width
    example = (torch.zeros(2, 3, 64, 64), torch.zeros(2, channels, 8, 8), torch.zeros(2, 8, width), torch.ones(2))
    with warnings.catch_warnings(), torch.inference_mode():
        # The tracer warns at each Python branch on a shape; the branches taken are the same for every size we admit.
        warnings.simplefilter("ignore")
        # Traced here, because the converter's own tracing runs the model twice more to check it.
        traced = torch.jit.trace(graph, example, check_trace=False)
        model = openvino.convert_model(traced, example_input=example)
    shapes = ([-1, 3, -1, -1], [-1, channels, -1, -1], [-1, -1, width], [-1])
    model.reshape({port: openvino.PartialShape(shapes[_index_of(port)]) for port in model.inputs})
    return model


def _save(openvino: ModuleType) -> Callable[[Any, Path], None]:
    # Full precision: half would save some disk and cost the agreement with the other backends.
    return lambda model, path: openvino.save_model(model, path, compress_to_fp16=False)


def _index_of(port: Any) -> int:
    return next(i for i, name in enumerate(_INPUTS) if name in port.get_names())
