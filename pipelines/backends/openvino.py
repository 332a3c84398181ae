"""One fused OpenVINO graph of ControlNets, U-Net and decoder: the quickest way on a CPU."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from pipelines.backends.base import CPU_BATCHES, FrameInputs, Size, stack_frames
from pipelines.backends.ir_cache import converted
from pipelines.errors import BackendError
from pipelines.fold import Constants
from pipelines.frame_graph import Form, to_bytes, to_control
from pipelines.graph import PaintGraph, PaintInputs
from pipelines.prompt import Embedding


class OpenVINOBackend:
    """Traces the graph once for each choice of ControlNets and weights, and compiles it for each size that comes."""

    name = "openvino"
    least_psnr: float | None = None
    batches = CPU_BATCHES

    def __init__(self, graph: PaintGraph, device: torch.device) -> None:
        try:
            import openvino
        except ImportError as error:
            raise BackendError(
                f"OpenVINO can't be imported ({error}); pip install openvino, or use --backend eager."
            ) from None
        self._openvino = openvino
        self._core = openvino.Core()
        self._graph = graph.float()
        self._tag = ""
        self._models: OrderedDict[tuple[object, ...], Any] = OrderedDict()
        self._requests: OrderedDict[tuple[object, ...], Any] = OrderedDict()

    def __call__(self, inputs: PaintInputs, nets: tuple[int, ...]) -> Tensor:
        arrays = {name: tensor.float().contiguous().numpy() for name, tensor in inputs.named().items()}
        request, names = self._request(nets, {name: array.shape for name, array in arrays.items()})
        given = [arrays[name] for name in names]
        return torch.from_numpy(request.infer(given, share_inputs=True, share_outputs=False)[0])

    def constants(self, embedding: Embedding, time_ids: Tensor | None) -> Constants:
        return Constants(
            embeddings=embedding.tokens, pooled=None if time_ids is None else embedding.pooled, time_ids=time_ids
        )

    def paint(self, frames: FrameInputs, nets: tuple[int, ...], form: Form, size: Size) -> Tensor:
        inputs, inverted = stack_frames(frames)
        return to_bytes(self(inputs.replace(maps=to_control(frames.maps, inverted, torch.float32)), nets), form, size)

    def sizes(self, offered: Sequence[Size]) -> Sequence[Size]:
        return offered

    def prepare(self, nets: tuple[int, ...], size: Size) -> None:
        self._model(nets)

    def weights_changed(self, tag: str) -> None:
        self._tag = tag

    def _model(self, nets: tuple[int, ...]) -> Any:
        key = (self._tag, nets)
        if key not in self._models:
            path, examples = _Path(self._graph, nets), _examples(self._graph, len(nets))
            self._models[key] = converted(
                path, self._core, lambda: _convert(path, examples, self._openvino), _save(self._openvino)
            )
            _forget_oldest(self._models)
        self._models.move_to_end(key)
        return self._models[key]

    def _request(self, nets: tuple[int, ...], shapes: dict[str, tuple[int, ...]]) -> tuple[Any, Sequence[str]]:
        """Compiled for just these shapes: half a second at a size's first picture, an eighth less time for each one."""
        key = (self._tag, nets, *shapes.items())
        if key not in self._requests:
            model = self._model(nets).clone()
            names = [_name_of(port, shapes) for port in model.inputs]
            model.reshape({port: list(shapes[name]) for port, name in zip(model.inputs, names, strict=True)})
            self._requests[key] = self._core.compile_model(model, "CPU", _HINTS).create_infer_request(), names
            _forget_oldest(self._requests)
        self._requests.move_to_end(key)
        found: tuple[Any, Sequence[str]] = self._requests[key]
        return found


# f32 is asked for because chips with bf16 would otherwise use it: slower for these sizes, and 1e-2 off.
_HINTS = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
#: Graphs, and graphs compiled for a shape, that are kept.
_REMEMBER = 8


class _Path(nn.Module):
    """The graph with its ControlNets chosen and its inputs in a row, as tracing takes it."""

    def __init__(self, graph: PaintGraph, nets: tuple[int, ...]) -> None:
        super().__init__()
        self.paint = graph  # not `graph`, which a traced module has of its own
        self.nets = nets
        self.names = list(_examples(graph, len(nets)))

    @property
    def step(self) -> object:
        """What decides the result besides the weights."""
        return self.paint.step, self.nets

    def forward(self, *tensors: Tensor) -> Tensor:
        given = dict(zip(self.names, tensors, strict=True))
        empty = given["noise"].new_zeros(0)
        picture: Tensor = self.paint(PaintInputs(**{"maps": empty, "scales": empty, **given}), self.nets)
        return picture


def _examples(graph: PaintGraph, maps: int) -> dict[str, Tensor]:
    """Small inputs to trace with, by name, without those that the graph doesn't take."""
    return PaintInputs(
        noise=torch.zeros(2, graph.latent_channels, 8, 8),
        embeddings=torch.zeros(2, 8, graph.context_width),
        maps=torch.zeros(2, maps, 3, 64, 64),
        scales=torch.ones(2, maps),
        pooled=torch.zeros(2, graph.pooled_width) if graph.pooled_width else None,
        time_ids=torch.zeros(2, 6) if graph.pooled_width else None,
    ).named()


#: Which axes may change: batch, and a picture's or a prompt's size.
_DYNAMIC = {
    "noise": (0, 2, 3),
    "embeddings": (0, 1),
    "maps": (0, 3, 4),
    "scales": (0,),
    "pooled": (0,),
    "time_ids": (0,),
}


def _convert(path: _Path, examples: dict[str, Tensor], openvino: ModuleType) -> Any:
    """Trace at a small size, with every axis that may change left dynamic."""
    given = tuple(examples.values())
    with warnings.catch_warnings(), torch.inference_mode():
        # The tracer warns at each Python branch on a shape; the branches taken are the same for every size we admit.
        warnings.simplefilter("ignore")
        # Traced here, because the converter's own tracing runs the model twice more to check it.
        traced = torch.jit.trace(path, given, check_trace=False)
        model = openvino.convert_model(traced, example_input=given)
    for port, name in zip(model.inputs, path.names, strict=True):
        port.get_tensor().set_names({name})
    shapes = {
        port: openvino.PartialShape([-1 if i in _DYNAMIC[name] else n for i, n in enumerate(examples[name].shape)])
        for port, name in zip(model.inputs, path.names, strict=True)
    }
    model.reshape(shapes)
    return model


def _save(openvino: ModuleType) -> Callable[[Any, Path], None]:
    # Full precision: half would save some disk and cost the agreement with the other backends.
    return lambda model, path: openvino.save_model(model, path, compress_to_fp16=False)


def _name_of(port: Any, shapes: dict[str, tuple[int, ...]]) -> str:
    return next(name for name in shapes if name in port.get_names())


def _forget_oldest(cache: OrderedDict[Any, Any]) -> None:
    if len(cache) > _REMEMBER:
        cache.popitem(last=False)
