"""From a piece of the graph to an OpenVINO model, and from several models to one."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

#: What the converter calls a weight of a traced module.
_WEIGHT = "self."
#: Of a folded graph: projections whose result is an input, and those that were joined into ``to_qkv``.
_UNUSED = re.compile(r"(.*)\.(to_[qkv])\.(weight|bias)")


def convert(module: nn.Module, examples: Mapping[str, Tensor]) -> Any:
    """``module`` traced with ``examples``, its inputs named after them, every size but the channels' left open."""
    import openvino

    given = tuple(examples.values())
    with warnings.catch_warnings(), torch.inference_mode():
        # The tracer warns at each Python branch on a shape; the branches taken are the same for every size we admit.
        warnings.simplefilter("ignore")
        # Traced here, because the converter's own tracing runs the model twice more to check it.
        traced = torch.jit.trace(module, given, check_trace=False)
        model = openvino.convert_model(traced, example_input=given)
    for port, (name, example) in zip(model.inputs, examples.items(), strict=True):
        # Of the node, as names of tensors get lost when nodes are merged.
        port.get_node().set_friendly_name(name)
        port.get_node().set_partial_shape(_open(example))
    model.validate_nodes_and_infer_types()
    return model


class Join:
    """Puts models together: an input gets what ``given`` has of its name, and inputs of one name become one."""

    def __init__(self) -> None:
        self._inputs: dict[str, Any] = {}

    def add(self, model: Any, given: Mapping[str, Any] | None = None) -> list[Any]:
        """Its outputs, for the ``given`` of those that follow."""
        model = model.clone()
        for parameter in model.get_parameters():
            name = parameter.get_friendly_name()
            source = (given or {}).get(name)
            if source is None:
                first = self._inputs.setdefault(name, parameter)
                if first is parameter:
                    continue
                source = first.output(0)
            for target in parameter.output(0).get_target_inputs():
                target.replace_source_output(source)
        return [result.input_value(0) for result in model.get_results()]

    def more(self, names: Sequence[str], model: Any) -> list[Any]:
        """Inputs of their own that are like ``model``'s of these names."""
        from openvino import opset13

        shapes = {each.get_friendly_name(): each.get_partial_shape() for each in model.get_parameters()}
        for name in names:
            self._inputs[name] = opset13.parameter(shapes[name], np.float32, name=name)
        return [self._inputs[name].output(0) for name in names]

    def model(self, outputs: Sequence[Any]) -> Any:
        import openvino

        return openvino.Model(list(outputs), list(self._inputs.values()), "frame")


def add_up(left: Sequence[Any], right: Sequence[Any]) -> list[Any]:
    """Outputs of models, one by one."""
    from openvino import opset13

    return [opset13.add(a, b).output(0) for a, b in zip(left, right, strict=True)]


def exchange_weights(model: Any, module: nn.Module) -> Any:
    """A copy of the ``model`` that ``module`` was converted to, with the weights that it has now.

    A weight that the converter merged with something stays as it is: see ``merged_weights``.
    """
    from openvino import opset13

    model = model.clone()
    constants = _constants(model)
    for name, tensor in _used(module):
        node = _find(constants, name, tensor)
        if node is None:
            continue
        fresh = opset13.constant(np.ascontiguousarray(tensor.float().numpy()))
        fresh.set_friendly_name(node.get_friendly_name())
        for target in node.output(0).get_target_inputs():
            target.replace_source_output(fresh.output(0))
    return model


def merged_weights(model: Any, module: nn.Module) -> dict[str, Tensor]:
    """Copies of the weights that can't be found in ``model`` again, by name."""
    constants = _constants(model)
    return {name: tensor.clone() for name, tensor in _used(module) if _find(constants, name, tensor) is None}


def _used(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    state = module.state_dict()
    for name, tensor in state.items():
        match = _UNUSED.fullmatch(name)
        if match and (match[2] != "to_q" or f"{match[1]}.to_qkv.weight" in state):
            continue
        yield name, tensor


def _constants(model: Any) -> dict[str, Any]:
    return {node.get_friendly_name(): node for node in model.get_ops() if node.get_type_name() == "Constant"}


def _find(constants: Mapping[str, Any], name: str, tensor: Tensor) -> Any:
    node = constants.get(_WEIGHT + name)
    return None if node is None or tuple(node.get_output_shape(0)) != tuple(tensor.shape) else node


def _open(example: Tensor) -> Any:
    """Channels, the number of maps and the width of embeddings stay; batch, length and picture's size are left open."""
    import openvino

    kept = {1: (), 2: (1,), 3: (2,), 4: (1,), 5: (1, 2)}[example.ndim]
    return openvino.PartialShape([size if axis in kept else -1 for axis, size in enumerate(example.shape)])
