"""How a picture is computed. One protocol; every backend paints the same picture, within what it states."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path

import torch

from pipelines.backends.base import CPU_BATCHES, GPU_BATCHES, Backend
from pipelines.backends.compiler import why_not
from pipelines.backends.eager import EagerBackend
from pipelines.errors import BackendError
from pipelines.graph import PaintGraph

log = logging.getLogger(__name__)

BACKENDS = ("auto", "eager", "compiled", "compiled-quick", "openvino", "openvino-int8")

__all__ = ["BACKENDS", "Backend", "make_backend"]


def make_backend(
    name: str,
    graph: PaintGraph,
    *,
    device: torch.device,
    directory: Path | None = None,
    intel_gpu: bool = False,
    max_batch: int = GPU_BATCHES[-1],
) -> Backend:
    """``auto`` is OpenVINO on a CPU, in int8 where that pays and is good enough; on a CUDA GPU it is ``compiled``.

    Where these can't run, it is eager, and the log says why.

    ``directory``: of the model, where its int8 form may lie. ``intel_gpu``: run on Intel's GPU instead of the CPU.
    ``max_batch``: more pictures at once will never come.
    Raises BackendError for a name or machine that doesn't fit.
    """
    if name not in BACKENDS:
        raise BackendError(f"There is no backend {name!r}; choose one of {', '.join(BACKENDS)}.")
    if intel_gpu and name not in ("auto", "openvino"):
        raise BackendError(f"An Intel GPU is run by the openvino backend, not by {name}; use --backend openvino.")
    chosen = _best(device) if name == "auto" and not intel_gpu else name
    if device.type == "cpu" and chosen in ("auto", "openvino", "openvino-int8"):
        return _openvino(chosen, graph, device, directory, intel_gpu)
    if chosen == "eager":
        return EagerBackend(graph, device)
    if chosen in ("compiled", "compiled-quick"):
        from pipelines.backends.compiled import CompiledBackend

        batches = [each for each in GPU_BATCHES if each <= max_batch] if device.type == "cuda" else CPU_BATCHES
        return CompiledBackend(graph, device, thorough=chosen == "compiled", batches=batches)
    raise BackendError(f"The {name} backend runs on the CPU, not on {device}; use --backend eager or --device cpu.")


def _openvino(name: str, graph: PaintGraph, device: torch.device, directory: Path | None, intel_gpu: bool) -> Backend:
    """Digests are of the weights in the precision that the backend has them in, and of all the graph."""
    from pipelines.backends.openvino import OpenVINOBackend
    from pipelines.backends.processor import multiplies_bytes
    from pipelines.backends.quantised import BOUND, find_form

    if name == "openvino" or intel_gpu or (name == "auto" and not multiplies_bytes()):
        return OpenVINOBackend(graph, device, gpu=intel_gpu)
    form = find_form(directory, graph.float())
    if name == "openvino-int8" and form is None:
        raise BackendError(
            f"{directory or 'This model'} has no int8 form of these weights; make one with "
            "python -m pipelines.training quantise DIRECTORY, or use --backend openvino."
        )
    good = form is not None and (name == "openvino-int8" or form.least_psnr >= BOUND)
    return OpenVINOBackend(graph, device, int8=form if good else None)


def _best(device: torch.device) -> str:
    """``auto`` itself on a CPU: which form of OpenVINO it is hangs on the model."""
    on_cpu = device.type == "cpu"
    missing = "" if find_spec("openvino") else "OpenVINO is not installed"
    if reason := missing if on_cpu else why_not(device):
        log.warning("The backend is eager, as %s: pictures take longer than they need to.", reason)
        return "eager"
    return "auto" if on_cpu else "compiled"
