"""How commands fail: in one line, with an exit code that tells bad input from bad luck."""

from __future__ import annotations

import os
import sys
from typing import Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from realtime.errors import RealtimeError

errors = Console(stderr=True)


def is_first_process() -> bool:
    """Of those that ``accelerate launch`` started, one speaks for all."""
    return os.environ.get("RANK", "0") == "0"


class OneLineErrors(TyperGroup):
    """Turns our own exceptions into one line on stderr and an exit code: 2 for bad input, 1 for a failure, 130 for
    training that somebody stopped."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            code = _exit_code(error)
            if code is None:
                raise
            if code == 1 or is_first_process():  # what was asked wrongly or stopped is the same in all of them
                errors.print(f"sdxs-live: {error}", soft_wrap=True, highlight=False, markup=False)
            raise typer.Exit(code) from None


def _exit_code(error: Exception) -> int | None:
    if isinstance(error, RealtimeError):
        return error.exit_code
    # Whoever raised one of these has imported its module, which is too heavy to import only to ask.
    if (pipelines := sys.modules.get("pipelines.errors")) and isinstance(error, pipelines.PipelineError):
        if isinstance(error, pipelines.TrainingStopped):
            return 130
        failures = (pipelines.CheckpointError, pipelines.DownloadError, pipelines.MemoryShortage)
        return 1 if isinstance(error, failures) and not isinstance(error, pipelines.NoSuchModel) else 2
    if (streaming := sys.modules.get("streaming.errors")) and isinstance(error, streaming.StreamingError):
        return 1 if error.status >= 500 else 2
    return None
