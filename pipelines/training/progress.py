"""The progress bar of a phase, with its loss; in the first process alone."""

from __future__ import annotations

from types import TracebackType

from accelerate import Accelerator
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar


class Progress:
    """A context manager around rich's bar. Where the output is no terminal, one line at the end."""

    def __init__(self, name: str, steps: int, accelerator: Accelerator) -> None:
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.4g}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not accelerator.is_main_process,
        )
        self._task = self._bar.add_task(name, total=steps, loss=float("nan"))
        self._mean = float("nan")

    def update(self, step: int, loss: float) -> None:
        """After ``step`` steps; the loss shown is a running mean."""
        self._mean = loss if self._mean != self._mean else self._mean + 0.05 * (loss - self._mean)
        self._bar.update(self._task, completed=step, loss=self._mean)

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
