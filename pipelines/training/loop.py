"""The loop every stage shares: learning rate, gradient clipping, weight average, checkpoints, log.

Every step draws from generators seeded by (seed, step), so that a resumed run gives the losses of an unbroken one.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from pipelines.training import ranks


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """``steps`` of AdamW at ``learning_rate``: ``warmup`` steps up, then a cosine down to a fiftieth."""

    steps: int
    learning_rate: float
    warmup: int = 100
    average: float = 0.999
    checkpoint_minutes: float = 3.0
    log_every: int = 50
    workers: int = 1
    seed: int = 0

    def rate(self, step: int) -> float:
        """Learning rate of one step."""
        progress = min(step / self.steps, 1)
        return (
            self.learning_rate * min(1, (step + 1) / self.warmup) * (0.02 + 0.49 * (1 + math.cos(math.pi * progress)))
        )


class Stage(Protocol):
    """What a stage gives the loop: the modules to train and the loss of one step."""

    modules: nn.ModuleDict

    @property
    def draw(self) -> Callable[[np.random.Generator], Any]:
        """Draws the samples of one step; runs in a worker process beside the training."""
        ...

    def loss(self, batch: Any) -> dict[str, Tensor]:
        """Scalars to log; the one called ``loss`` is minimised. Torch's generator is seeded before the call."""
        ...


class _Steps(Dataset[Any]):
    """The samples of every step, by its number."""

    def __init__(self, draw: Callable[[np.random.Generator], Any], seed: int) -> None:
        self.draw, self.seed, self.rank = draw, seed, ranks.rank()

    def __getitem__(self, step: int) -> Any:
        return self.draw(np.random.default_rng((self.seed, step, self.rank)))


class _Log:
    """The means of every period's scalars, one JSON line each; only the first process writes."""

    def __init__(self, path: Path, period: int) -> None:
        self.path, self.period = path, period
        self.sums: dict[str, float] = {}
        self.started = time.monotonic()

    def add(self, step: int, scalars: dict[str, float]) -> None:
        for name, value in scalars.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        if step % self.period:
            return
        means = {name: round(value / self.period, 5) for name, value in self.sums.items()}
        self.sums.clear()
        if ranks.rank() == 0:
            with self.path.open("a") as log:
                log.write(json.dumps({"step": step, "s": round(time.monotonic() - self.started), **means}) + "\n")


class Trainer:
    """One stage in training; ``folder`` gets ``state.pt`` (everything needed to go on) and ``log.jsonl``."""

    def __init__(self, stage: Stage, schedule: Schedule, folder: Path) -> None:
        self.stage, self.schedule, self.folder = stage, schedule, folder
        stage.modules.to(memory_format=torch.channels_last)  # a fifth quicker on a CPU
        trained = {name: p for name, p in stage.modules.named_parameters() if p.requires_grad}
        self.parameters = list(trained.values())
        self.average = {name: p.detach().clone() for name, p in trained.items()}
        self.optimizer = torch.optim.AdamW(
            self.parameters, schedule.learning_rate, betas=(0.9, 0.99), weight_decay=1e-3
        )
        self.step = 0
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "state.pt").exists():
            self._restore(folder / "state.pt")

    def run(self, *, until: int | None = None) -> list[float]:
        """Train from where the state stands to step ``until`` (all of them by default) and return the losses."""
        last = min(until or self.schedule.steps, self.schedule.steps)
        losses: list[float] = []
        saved = time.monotonic()
        log = _Log(self.folder / "log.jsonl", self.schedule.log_every)
        columns = (TextColumn("{task.description}"), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, transient=True, disable=ranks.rank() > 0) as progress:
            bar = progress.add_task(self.folder.name, total=last, completed=self.step)
            for batch in self._batches(last):
                scalars = self._one_step(batch)
                losses.append(scalars["loss"])
                log.add(self.step, scalars)
                if time.monotonic() - saved > 60 * self.schedule.checkpoint_minutes:
                    self.save()
                    saved = time.monotonic()
                progress.update(bar, completed=self.step)
        self.save()
        return losses

    def save(self) -> None:
        """Write the state in one piece: a crash leaves the last whole one."""
        if ranks.rank() > 0:
            return
        state = {
            "step": self.step,
            "modules": self.stage.modules.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
        }
        torch.save(state, self.folder / "state.part")
        (self.folder / "state.part").replace(self.folder / "state.pt")

    def _batches(self, last: int) -> DataLoader[Any]:
        steps = _Steps(self.stage.draw, self.schedule.seed)
        order = range(self.step, last)
        return DataLoader(steps, sampler=order, batch_size=None, num_workers=self.schedule.workers)

    def _one_step(self, batch: Any) -> dict[str, float]:
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.rate(self.step)
        torch.manual_seed(self.schedule.seed * 1_000_003 + 64 * self.step + ranks.rank())
        scalars = self.stage.loss(batch)
        self.optimizer.zero_grad(set_to_none=True)
        scalars["loss"].backward()
        ranks.average_gradients(self.parameters)
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.step += 1
        # Early weights are far from the last ones: let the average forget them quickly at first.
        keep = min(self.schedule.average, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(list(self.average.values()), [p.detach() for p in self.parameters], 1 - keep)
        return {name: float(value.detach()) for name, value in scalars.items()}

    def _restore(self, path: Path) -> None:
        state = torch.load(path, weights_only=True)
        self.stage.modules.load_state_dict(state["modules"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average = state["average"]
        self.step = state["step"]
