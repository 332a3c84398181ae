"""The pieces of a graph as OpenVINO models: converted once, read from where they are kept, or shipped in int8."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipelines.backends.ir_cache import converted, weights_digest
from pipelines.backends.lean import grey
from pipelines.backends.openvino_convert import convert, exchange_weights, merged_weights
from pipelines.graph import PaintGraph
from pipelines.split import Ascent, Control, Descent

_OF_UNET = frozenset({"descent", "ascent"})


class Pieces:
    """OpenVINO models of the pieces of ``graph``, which is folded.

    ``shipped``: models by name that are taken instead of converted ones while the weights are as they are now. A piece
    is read or converted when it is first asked for. Inputs: see ``pipelines.split``; features are ``feature0``, ...
    """

    def __init__(self, graph: PaintGraph, core: Any, widths: tuple[int, int], shipped: Mapping[str, Any]) -> None:
        self._graph, self._core = graph, core
        self._shipped = shipped
        self._original = weights_digest(graph.unet) if shipped else ""
        self._is_original = True
        self._examples = _examples(graph, widths)
        self._modules: dict[str, nn.Module] = {}
        self._models: dict[str, Any] = {}
        self._merged: dict[str, dict[str, Tensor]] = {}
        #: Those whose weights changed since their model was made.
        self._stale: set[str] = set()

    def descent(self) -> Any:
        return self._model("descent", lambda: Descent(self._graph))

    def ascent(self) -> Any:
        return self._model("ascent", lambda: Ascent(self._graph))

    def control(self, net: int, channels: int) -> Any:
        """Of the ControlNet ``net`` for maps of 1 or 3 channels."""
        network = self._graph.controlnets[net]
        name = f"control{net}" if channels == 1 else f"control{net}-colour"
        return self._model(
            name, lambda: Control(grey(network) if channels == 1 else network, self._graph.step), channels
        )

    def entry(self, entry: nn.Module) -> Any:
        """How colours enter the noise, which isn't in the graph (``pipelines.colours``)."""
        if "entry" not in self._models:
            pictures, strength = torch.zeros(2, 3, 16, 16), torch.ones(2)
            given = {"noise": self._examples["noise"], "pictures": pictures, "strength": strength}
            entry = entry.float().eval()
            self._models["entry"] = converted(entry, "entry", self._core, lambda: convert(entry, given), _save)
        return self._models["entry"]

    def unet_changed(self) -> None:
        """Its weights are others now, or those of the beginning again."""
        self._is_original = bool(self._shipped) and weights_digest(self._graph.unet) == self._original
        self._stale |= _OF_UNET

    def _model(self, name: str, make: Callable[[], nn.Module], channels: int = 3) -> Any:
        if name in self._shipped and (self._is_original or name not in _OF_UNET):
            return self._shipped[name]
        if name not in self._modules:
            self._modules[name] = make().eval()
        module = self._modules[name]
        if name in self._stale and name in self._models and not self._has_lost_weights(name, module):
            self._models[name] = exchange_weights(self._models[name], module)
        elif name in self._stale or name not in self._models:
            self._models[name] = self._convert(module, name, channels)
            self._merged[name] = merged_weights(self._models[name], module)
        self._stale.discard(name)
        return self._models[name]

    def _has_lost_weights(self, name: str, module: nn.Module) -> bool:
        """Whether one changed that can't be exchanged."""
        state = module.state_dict()
        return any(not torch.equal(state[key], before) for key, before in self._merged[name].items())

    def _convert(self, module: nn.Module, name: str, channels: int) -> Any:
        examples = self._inputs(name, channels)
        return converted(module, name, self._core, lambda: convert(module, examples), _save)

    def _inputs(self, name: str, channels: int) -> dict[str, Tensor]:
        if name.startswith("control"):
            size = self._examples["noise"].shape[-1] * 8
            return {"maps": torch.zeros(2, channels, size, size), "scales": torch.ones(2, 1), **self._examples}
        if name == "descent":
            return self._examples
        with torch.inference_mode():
            features = Descent(self._graph)(**self._examples)
        return {**self._examples, **{f"feature{i}": each for i, each in enumerate(features)}}


def _examples(graph: PaintGraph, widths: tuple[int, int]) -> dict[str, Tensor]:
    """Small inputs to trace with: what all pieces take. ``widths``: of the embeddings and of temb."""
    return {
        "noise": torch.zeros(2, graph.latent_channels, 8, 8),
        "embeddings": torch.zeros(2, 8, widths[0]),
        "temb": torch.zeros(2, widths[1]),
    }


def _save(model: Any, path: Path) -> None:
    import openvino

    # Full precision: half would save some disk and cost the agreement with the other backends.
    openvino.save_model(model, path, compress_to_fp16=False)
