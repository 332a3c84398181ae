"""Which model runs: the one asked for, or for ``auto`` the best that this machine can run."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

#: What ``auto`` takes where there is a GPU for it, and what it takes otherwise.
BEST, ANYWHERE = "sdxs-512-dreamshaper", "embedded"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice:
    """``why``: one line for the person at the terminal; empty when it is what was asked for."""

    name: str
    why: str = ""


def check_names(
    name: str, *, controlnets: Sequence[str] = (), loras: Sequence[str] = (), vae: str | None = None
) -> None:
    """Before the server starts: raises ``pipelines.errors.PipelineError`` for names that nothing can be behind."""
    from pipelines.locate import check_names

    check_names(ANYWHERE if name == "auto" else name, controlnets=controlnets, loras=loras, vae=vae)


def choose_model(
    name: str,
    *,
    device: str,
    dtype: str,
    controlnets: Sequence[str] = (),
    loras: Sequence[str] = (),
    vae: str | None = None,
) -> Choice:
    """The model for ``name``, whose files are here afterwards: fetched, with a progress bar, if they were not.

    ``auto`` is SDXS-512 where there is CUDA and its files can be had, otherwise the embedded model. Raises
    ``pipelines.errors.PipelineError`` for a name that was asked for and can't be had.
    """
    from pipelines.errors import PipelineError
    from pipelines.locate import locate

    if name == "auto" and not _has_cuda(device):
        why = "the CPU was asked for" if device == "cpu" else "there is no CUDA GPU here"
        return Choice(name=ANYWHERE, why=f"{ANYWHERE}, as {why}.")
    wanted = BEST if name == "auto" else name
    try:
        locate(wanted, controlnets=controlnets, loras=loras, vae=vae, half=prefers_half(device=device, dtype=dtype))
    except PipelineError as error:
        if name != "auto":
            raise
        return Choice(name=ANYWHERE, why=f"{ANYWHERE}, as {BEST} can't be had: {error}")
    return Choice(name=wanted, why=f"{BEST}, on the GPU." if name == "auto" else "")


def backend_for_one(backend: str, *, device: str) -> str:
    """The backend for a single picture: ``auto`` doesn't compile for minutes what runs for milliseconds."""
    return "eager" if backend == "auto" and _has_cuda(device) else backend


def prefers_half(*, device: str, dtype: str) -> bool:
    """Whether a model will run in half precision, so that this is the form of its weights to fetch."""
    return dtype == "fp16" or (dtype == "auto" and _has_cuda(device))


def _has_cuda(device: str) -> bool:
    if device == "cpu":
        return False
    import torch

    return torch.cuda.is_available()
