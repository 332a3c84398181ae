"""A phase's checkpoints: everything needed to go on to the step, and the model as it is then.

    FOLDER/checkpoints/step-0001200/    accelerate's state (weights, optimisers, averages), and model/, which loads

Each is written beside and moved into place in one piece: a kill leaves the last whole one.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

_NAME = re.compile(r"step-(\d{7,})$")


class Checkpoints:
    """Those of one phase. ``keep``: how many stay."""

    def __init__(self, folder: Path, *, keep: int) -> None:
        self._folder, self._keep = folder / "checkpoints", keep

    def steps(self) -> list[int]:
        """The whole ones there are, oldest first."""
        found = (_NAME.match(each.name) for each in self._folder.glob("step-*"))
        return sorted(int(match[1]) for match in found if match)

    def path(self, step: int) -> Path:
        """Where the checkpoint after ``step`` steps is or will be."""
        return self._folder / f"step-{step:07d}"

    @property
    def newest(self) -> Path | None:
        """The one to go on from."""
        steps = self.steps()
        return self.path(steps[-1]) if steps else None

    def begin(self, step: int) -> Path:
        """An empty folder to write the next one to."""
        partial = self._folder / f"step-{step:07d}.part"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        return partial

    def finish(self, step: int) -> None:
        """What was written is whole: move it into place, and let the oldest go."""
        target = self.path(step)
        shutil.rmtree(target, ignore_errors=True)
        target.with_name(f"{target.name}.part").replace(target)
        for old in self.steps()[: -self._keep]:
            shutil.rmtree(self.path(old), ignore_errors=True)
        for torn in self._folder.glob("*.part"):
            shutil.rmtree(torn, ignore_errors=True)
