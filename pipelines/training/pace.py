"""When the next checkpoint is due."""

from __future__ import annotations

import time

from accelerate.utils import broadcast_object_list

from pipelines.training.phase import Plan


class Pace:
    """By steps or by minutes, whichever comes first. The first process's clock counts for all of them."""

    def __init__(self, plan: Plan, step: int) -> None:
        self._plan, self._saved, self._step = plan, time.monotonic(), step

    def is_due(self, step: int) -> bool:
        """Whether to save after ``step`` steps; if so, it counts as done."""
        every = self._plan.checkpoint_every
        due = (every > 0 and step % every == 0) or self._minutes_are_over(step)
        if due:
            self._saved = time.monotonic()
        return due

    def _minutes_are_over(self, step: int) -> bool:
        if step % 10:  # asking the others costs a message
            return False
        over = [time.monotonic() - self._saved > 60 * self._plan.checkpoint_minutes]
        return bool(broadcast_object_list(over)[0])
