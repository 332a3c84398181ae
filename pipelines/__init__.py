"""Tensors, no time: the SDXS models and how they paint. No asyncio, threads, sockets or clocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipelines.errors import BackendError, CheckpointError, PipelineError, SettingsError
from pipelines.settings import Settings

if TYPE_CHECKING:
    from pipelines.sdxs import SDXSPipeline

__all__ = ["BackendError", "CheckpointError", "PipelineError", "SDXSPipeline", "Settings", "SettingsError"]


def __getattr__(name: str) -> Any:
    """SDXSPipeline brings torch with it, so it is imported when it is first asked for."""
    if name == "SDXSPipeline":
        from pipelines.sdxs import SDXSPipeline

        return SDXSPipeline
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
