"""The plan that a phase was begun with: going on with another one would be neither run."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

from pipelines.errors import TrainingError
from pipelines.training.phase import Plan

#: What may change on the way: none of it changes the numbers beyond rounding.
_FREE = {"log_every", "validate_every", "sample_every", "checkpoint_every", "checkpoint_minutes", "keep", "workers"}
_FREE |= {"micro_batch", "gradient_checkpointing"}


def same_plan(plan: Plan, folder: Path, *, begun: bool) -> None:
    """Write ``plan.json``, or compare with the one there if it has ``begun``. Raises TrainingError."""
    file = folder / "plan.json"
    # Through JSON, so that tuples compare as they come back.
    now = json.loads(json.dumps(dataclasses.asdict(plan)))
    if begun and file.is_file():
        then = json.loads(file.read_text(encoding="utf-8"))
        for name in now.keys() - _FREE:
            if then.get(name) != now[name]:
                raise TrainingError(
                    f"{folder} was begun with {name} = {then.get(name)}, and the recipe now says {now[name]}: go on "
                    "with the recipe it was begun with, or give another --out."
                )
    own = file.with_suffix(f".{os.getpid()}")  # in one piece: every process of a run writes it, and another may read
    own.write_text(json.dumps(now, indent=2) + "\n", encoding="utf-8")
    own.replace(file)
