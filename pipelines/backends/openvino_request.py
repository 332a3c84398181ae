"""A compiled model with the tensors that it reads and writes, none of which is copied without need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pipelines.backends.processor import Target


class Request:
    """``model`` compiled for just these shapes, which makes a frame an eighth quicker than shapes left open.

    What it is given is read where it lies. The results alternate between two tensors, so that one is written over by
    the next run but one.
    """

    def __init__(self, core: Any, model: Any, shapes: Mapping[str, Sequence[int]], target: Target) -> None:
        import openvino

        self._tensor = openvino.Tensor
        model = model.clone()
        model.reshape({port: list(shapes[port.get_node().get_friendly_name()]) for port in model.inputs})
        compiled = core.compile_model(model, target.device, dict(target.hints))
        self._request = compiled.create_infer_request()
        self._places = {port.get_node().get_friendly_name(): place for place, port in enumerate(compiled.inputs)}
        self._given: dict[str, object] = {}
        self._results = [[_empty(port) for port in compiled.outputs] for _ in range(2)]

    @property
    def names(self) -> Sequence[str]:
        return list(self._places)

    def give(self, name: str, tensor: Tensor) -> None:
        """Read input ``name`` from ``tensor`` from now on. An input that the model doesn't have is passed over."""
        if name in self._places:
            # Kept: the request has only a pointer to it.
            self._given[name] = tensor = tensor.contiguous()
            self._request.set_input_tensor(self._places[name], self._tensor(tensor.numpy(), shared_memory=True))

    def give_rows(self, name: str, rows: Sequence[Tensor]) -> None:
        """The same for a batch of tensors; nothing is done when these very objects were given the last time."""
        before = self._given.get(name)
        if isinstance(before, _Rows) and before.are(rows):
            return
        stacked = (rows[0][None] if len(rows) == 1 else torch.stack(list(rows))).float()
        self.give(name, stacked)
        if name in self._places:
            self._given[name] = _Rows(rows, self._given[name])

    def __call__(self) -> list[Tensor]:
        """The outputs, in order."""
        self._results.reverse()
        results = self._results[0]
        for place, result in enumerate(results):
            self._request.set_output_tensor(place, self._tensor(result.numpy(), shared_memory=True))
        self._request.infer()
        return results


class _Rows:
    def __init__(self, rows: Sequence[Tensor], stacked: object) -> None:
        self._rows, self._stacked = tuple(rows), stacked

    def are(self, rows: Sequence[Tensor]) -> bool:
        return len(rows) == len(self._rows) and all(a is b for a, b in zip(rows, self._rows, strict=True))


def _empty(port: Any) -> Tensor:
    dtype = torch.uint8 if port.get_element_type().get_type_name() == "u8" else torch.float32
    return torch.empty(tuple(port.get_shape()), dtype=dtype)
