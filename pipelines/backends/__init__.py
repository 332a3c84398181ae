"""How a picture is computed. One protocol; every backend paints the same picture within 1e-3."""

from __future__ import annotations

from collections.abc import Callable

import torch

from pipelines.backends.base import Backend
from pipelines.backends.eager import EagerBackend
from pipelines.errors import BackendError
from pipelines.graph import PaintGraph

BACKENDS = ("auto", "eager", "openvino")

__all__ = ["BACKENDS", "Backend", "make_backend"]


def make_backend(name: str, graph: PaintGraph, *, device: torch.device) -> Backend:
    """``auto`` is OpenVINO on a CPU and eager elsewhere. Raises BackendError for a name or machine that doesn't fit."""
    chosen = _choose(name, device)
    return chosen(graph, device)


def _choose(name: str, device: torch.device) -> Callable[[PaintGraph, torch.device], Backend]:
    if name not in BACKENDS:
        raise BackendError(f"There is no backend {name!r}; choose one of {', '.join(BACKENDS)}.")
    if name == "eager" or (name == "auto" and device.type != "cpu"):
        return EagerBackend
    if device.type != "cpu":
        raise BackendError(
            f"The openvino backend runs on the CPU, not on {device}; use --backend eager or --device cpu."
        )
    from pipelines.backends.openvino import OpenVINOBackend

    return OpenVINOBackend
