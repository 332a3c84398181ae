"""One fused OpenVINO graph of ControlNet, U-Net and decoder: the quickest way on a CPU."""

from __future__ import annotations

import warnings
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
    """Traces the graph once; batch size and picture size stay free."""

    name = "openvino"

    def __init__(self, graph: PaintGraph, device: torch.device) -> None:
        try:
            import openvino
        except ImportError as error:
            raise BackendError(
                f"OpenVINO can't be imported ({error}); pip install openvino, or use --backend eager."
            ) from None
        core, graph = openvino.Core(), graph.to(device).float()
        model = converted(graph, core, lambda: _convert(graph, openvino), _save(openvino))
        # f32 is asked for because chips with bf16 would otherwise use it: slower for these sizes, and 1e-2 off.
        hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        compiled = core.compile_model(model, "CPU", hints)
        self._request = compiled.create_infer_request()
        # A graph without a ControlNet has no use for the map and its scale; the conversion drops such inputs.
        self._wanted = [_index_of(port) for port in compiled.inputs]

    def __call__(self, control: Tensor, noise: Tensor, embeddings: Tensor, scale: Tensor) -> Tensor:
        given = (control, noise, embeddings, scale)
        inputs = [given[i].float().contiguous().numpy() for i in self._wanted]
        outputs = self._request.infer(inputs, share_inputs=True, share_outputs=False)
        return torch.from_numpy(outputs[0])


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
