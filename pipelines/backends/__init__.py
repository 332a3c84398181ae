"""How a picture is computed. One protocol; every backend paints the same picture, within what it states."""

from __future__ import annotations

import logging

import torch

from pipelines.backends.base import Backend
from pipelines.backends.compiler import why_not
from pipelines.backends.eager import EagerBackend
from pipelines.errors import BackendError
from pipelines.graph import PaintGraph

log = logging.getLogger(__name__)

BACKENDS = ("auto", "eager", "compiled", "compiled-quick", "openvino")

__all__ = ["BACKENDS", "Backend", "make_backend"]


def make_backend(name: str, graph: PaintGraph, *, device: torch.device) -> Backend:
    """``auto`` is OpenVINO on a CPU, and ``compiled`` on a GPU, or eager where nothing can be compiled.

    Raises BackendError for a name or machine that doesn't fit.
    """
    if name not in BACKENDS:
        raise BackendError(f"There is no backend {name!r}; choose one of {', '.join(BACKENDS)}.")
    chosen = _best(device) if name == "auto" else name
    if chosen == "eager":
        return EagerBackend(graph, device)
    if chosen in ("compiled", "compiled-quick"):
        from pipelines.backends.compiled import CompiledBackend

        return CompiledBackend(graph, device, thorough=chosen == "compiled")
    if device.type != "cpu":
        raise BackendError(
            f"The openvino backend runs on the CPU, not on {device}; use --backend eager or --device cpu."
        )
    from pipelines.backends.openvino import OpenVINOBackend

    return OpenVINOBackend(graph, device)


def _best(device: torch.device) -> str:
    if device.type == "cpu":
        return "openvino"
    if reason := why_not(device):
        log.warning("The backend is eager, as %s: pictures take longer than they need to.", reason)
        return "eager"
    return "compiled"
