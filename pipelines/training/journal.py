"""What a phase writes while it trains: ``log.jsonl``, ``validation.jsonl``, samples, and the same for TensorBoard.

After a resume, what was written past the checkpoint is taken back, so that each step stands there once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from torch.utils.tensorboard import SummaryWriter

LOG, VALIDATION = "log.jsonl", "validation.jsonl"


class Journal:
    """``folder``: the phase's. ``writes``: only the first of several processes does. ``step``: where the run stands."""

    def __init__(self, folder: Path, *, period: int, writes: bool) -> None:
        self._folder, self._period, self._writes = folder, period, writes
        self._sums: dict[str, float] = {}
        self._count = 0
        self._board: SummaryWriter | None = None

    def open(self, step: int) -> None:
        """Begin, or go on, after ``step`` steps."""
        if not self._writes:
            return
        for name in (LOG, VALIDATION):
            _cut(self._folder / name, step)
        self._board = SummaryWriter(str(self._folder / "tensorboard"), purge_step=step + 1 if step else None)

    def close(self) -> None:
        """May be called twice."""
        if self._board is not None:
            self._board.close()
            self._board = None

    def add(self, step: int, scalars: Mapping[str, float]) -> None:
        """One step's scalars; each period's means are one line."""
        for name, value in scalars.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1
        if step % self._period == 0:
            means = {name: value / self._count for name, value in self._sums.items()}
            self._sums, self._count = {}, 0
            self._line(LOG, step, means)

    def validated(self, step: int, numbers: Mapping[str, float]) -> None:
        """Validation numbers after ``step`` steps."""
        self._line(VALIDATION, step, {f"validation/{name}": value for name, value in numbers.items()}, numbers)

    def picture(self, step: int, picture: NDArray[np.uint8]) -> None:
        """A grid of samples, H×W×3 RGB."""
        if self._board is None:
            return
        folder = self._folder / "samples"
        folder.mkdir(exist_ok=True)
        cv2.imwrite(str(folder / f"step-{step:07d}.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        self._board.add_image("samples", picture, step, dataformats="HWC")

    def state_dict(self) -> dict[str, Any]:
        """The period that has begun."""
        return {"sums": dict(self._sums), "count": self._count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on within a period."""
        self._sums, self._count = dict(state["sums"]), int(state["count"])

    def _line(
        self, name: str, step: int, drawn: Mapping[str, float], written: Mapping[str, float] | None = None
    ) -> None:
        if self._board is None:
            return
        line = {"step": step, **{key: float(f"{value:.7g}") for key, value in (written or drawn).items()}}
        with (self._folder / name).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        for key, value in drawn.items():
            self._board.add_scalar(key, value, step)


def read_journal(folder: Path, name: str = LOG) -> list[dict[str, float]]:
    """The lines of a phase's journal, oldest first; none where there is none."""
    file = folder / name
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.is_file() else []


def _cut(file: Path, step: int) -> None:
    """Keep the lines up to ``step``; a line broken by a crash is past it. A fresh start keeps none."""
    if not file.is_file():
        return
    kept = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            if step and json.loads(line)["step"] <= step:
                kept.append(line)
        except ValueError:
            break
    file.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
