"""The loop that every phase shares, on accelerate: precision, processes and sharding are its configuration's.

One step: each player in its turn goes through its part of the batch, in pieces where the plan says so, and takes one
step of AdamW. All chance is the samples' own (``dice``), so neither resuming nor the number of processes or pieces
changes the numbers beyond rounding.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from pipelines.errors import TrainingError, TrainingStopped
from pipelines.training.averages import Averages
from pipelines.training.checkpoints import Checkpoints
from pipelines.training.dice import Dice
from pipelines.training.feed import Feed, piece
from pipelines.training.journal import Journal
from pipelines.training.pace import Pace
from pipelines.training.phase import Batch, Phase, Plan
from pipelines.training.plan_file import same_plan
from pipelines.training.progress import Progress
from pipelines.training.sharding import unsharded, whole_weights
from pipelines.training.stopping import Stopping


class Trainer:
    """One phase in training, in ``folder``; goes on from the newest checkpoint there.

    Raises TrainingError where the plan can't be divided among the processes, or isn't the one it was begun with.
    """

    def __init__(self, phase: Phase, folder: Path) -> None:
        self.phase, self.plan, self.folder = phase, phase.plan, folder
        self.accelerator = Accelerator()
        self.step = 0
        folder.mkdir(parents=True, exist_ok=True)
        self._share = _share(self.plan, self.accelerator.num_processes)
        self._checkpoints = Checkpoints(folder, keep=self.plan.keep)
        self._journal = Journal(folder, period=self.plan.log_every, writes=self.accelerator.is_main_process)
        self._prepare()
        self._restore()

    def run(self, *, until: int | None = None, exported: Path | None = None, ends: float = math.inf) -> list[float]:
        """Train to step ``until`` (all of the plan's by default) and return each step's loss of the first player.

        At the end of the plan the model is written to ``exported``, if given. Raises TrainingError when a loss or
        gradient isn't finite any more, TrainingStopped, once everything is saved, after Ctrl-C or SIGTERM and when
        ``time.monotonic()`` passes ``ends``.
        """
        last = min(self.plan.steps if until is None else until, self.plan.steps)
        self._journal.open(self.step)
        try:
            losses = self._train(last, ends)
            if self.step >= self.plan.steps and exported is not None:
                self._export(exported)
        finally:
            self._journal.close()
        return losses

    def save(self) -> Path:
        """Write a checkpoint of where it stands, unless it is there; every process has to call it."""
        target = self._checkpoints.path(self.step)
        if target.is_dir():
            return target
        partial = self._checkpoints.path(self.step).with_name(f"{target.name}.part")
        if self.accelerator.is_main_process:
            self._checkpoints.begin(self.step)
        self.accelerator.wait_for_everyone()
        self.accelerator.save_state(str(partial))
        self._export(partial / "model")
        if self.accelerator.is_main_process:
            self._checkpoints.finish(self.step)
        self.accelerator.wait_for_everyone()
        return target

    def _train(self, last: int, ends: float) -> list[float]:
        losses: list[float] = []
        stop = False
        if self.step == 0:
            self._look()
        feed = Feed(self.phase, share=self._share, rank=self.accelerator.process_index, first=self.step, last=last)
        pace = Pace(self.plan, self.step)
        with Stopping(ends) as stopping, Progress(self.phase.name, self.plan.steps, self.accelerator) as progress:
            for batch in feed:
                scalars = self._one_step(batch, stop=stopping.asked or stopping.is_over)
                stop = scalars.pop("stop") > 0
                losses.append(next(iter(scalars.values())))
                self._journal.add(self.step, scalars)
                progress.update(self.step, losses[-1])
                if stop and self.step < last:
                    break
                if pace.is_due(self.step):
                    self.save()
                self._look_if_due(last)
            if losses or not self._checkpoints.steps():
                self.save()
            if stop or stopping.asked:  # also in the last step: another phase may follow
                raise TrainingStopped(
                    f"Stopped at step {self.step} of {self.plan.steps} of {self.phase.name}; everything is saved, and "
                    "the same command goes on from there."
                )
        return losses

    def _one_step(self, batch: Batch, *, stop: bool) -> dict[str, float]:
        torch.manual_seed(
            self.plan.seed * 1_000_003 + self.step
        )  # for chance that isn't the samples': there should be none
        scalars: dict[str, Tensor] = {}
        for turn, (name, player) in enumerate(self._players.items()):
            for other, each in self._players.items():
                each.requires_grad_(other == name)
            found = self._turn(turn, player, self._optimizers[name], batch, self.phase.rates.get(name, 1.0))
            scalars |= {key if len(self._players) == 1 else f"{name}.{key}": value for key, value in found.items()}
        self.step += 1
        self._averages.update(self.step)
        asked = torch.tensor(float(stop), device=self.accelerator.device)
        return self._mean({**scalars, "stop": asked})

    def _turn(self, turn: int, player: nn.Module, optimizer: Any, batch: Batch, rate: float) -> dict[str, Tensor]:
        for group in optimizer.param_groups:
            group["lr"] = rate * learning_rate(self.plan, self.step)
        sums: dict[str, Tensor] = {}
        pieces = list(self._pieces(turn))
        for number, (places, dice) in enumerate(pieces):
            part = len(dice) / self._share
            sync = number == len(pieces) - 1
            with contextlib.nullcontext() if sync else self.accelerator.no_sync(player):
                found = player(piece(batch, places, self.accelerator.device), dice)
                if found["loss"].requires_grad:
                    self.accelerator.backward(found["loss"] * part)
            for key, value in found.items():
                sums[key] = sums.get(key, torch.zeros((), device=value.device)) + part * value.detach().float()
        self._check(sums["loss"], "loss")
        if any(parameter.grad is not None for parameter in player.parameters()):
            self.accelerator.unscale_gradients(optimizer)
            norm = nn.utils.clip_grad_norm_(player.parameters(), self.plan.clip)
            if self.accelerator.scaler is None:  # in half precision the scaler skips such steps and goes on
                self._check(norm, "gradient")
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return sums

    def _pieces(self, turn: int) -> Iterator[tuple[slice, Dice]]:
        """Where in this process's part of the batch each piece is, and its samples' chance."""
        size = self.plan.micro_batch or self._share
        first = self.accelerator.process_index * self._share
        for start in range(0, self._share, size):
            end = min(start + size, self._share)
            places = range(first + start, first + end)
            yield slice(start, end), Dice(self.plan.seed, self.step, places, turn=turn, device=self.accelerator.device)

    def _check(self, value: Tensor, what: str) -> None:
        whole = value.full_tensor() if isinstance(value, DTensor) else value
        together = self.accelerator.reduce(whole.detach().float(), "sum")
        if math.isfinite(float(together)):
            return
        newest = self._checkpoints.newest
        good = f"the last good checkpoint is {newest}" if newest else "there is no checkpoint yet"
        raise TrainingError(
            f"The {what} of {self.phase.name} is no longer finite at step {self.step}; {good}. Lower the learning rate "
            "or look at the data before going on from there."
        )

    def _mean(self, scalars: Mapping[str, Tensor]) -> dict[str, float]:
        together = self.accelerator.reduce(torch.stack(list(scalars.values())), "mean").tolist()
        return dict(zip(scalars, together, strict=True))

    def _look_if_due(self, last: int) -> None:
        end = self.step >= last
        self._look(
            validate=end or _is_turn(self.step, self.plan.validate_every),
            picture=end or _is_turn(self.step, self.plan.sample_every),
        )

    @torch.no_grad()
    def _look(self, *, validate: bool = True, picture: bool = True) -> None:
        """Validation numbers and a grid, every process alike: sharded networks need all of them."""
        if not validate and not picture:
            return
        with self._averages.applied(), unsharded(self._players.values()):
            if validate:
                self._journal.validated(self.step, self.phase.validate())
            if picture:
                self._journal.picture(self.step, self.phase.picture())

    def _export(self, folder: Path) -> None:
        """The averaged weights, whole in the first process."""
        with self._averages.applied():
            weights = {name: whole_weights(network) for name, network in self.phase.averaged.items()}
        if self.accelerator.is_main_process:
            self.phase.export(folder, weights)
        self.accelerator.wait_for_everyone()

    def _prepare(self) -> None:
        self.phase.to(self.accelerator.device)
        self._players: dict[str, nn.Module] = {}
        self._optimizers: dict[str, Any] = {}
        for name, player in self.phase.players.items():
            if self.plan.gradient_checkpointing:
                _checkpoint_activations(player)
            player.requires_grad_(True)
            rate = self.plan.learning_rate * self.phase.rates.get(name, 1.0)
            optimizer = torch.optim.AdamW(
                player.parameters(), rate, betas=self.plan.betas, weight_decay=self.plan.weight_decay
            )
            self._players[name], self._optimizers[name] = self.accelerator.prepare(player, optimizer)
        self._averages = Averages(self.phase.averaged, self.plan.ema)
        self.accelerator.register_for_checkpointing(self._averages, self._journal)

    def _restore(self) -> None:
        newest = self._checkpoints.newest
        same_plan(self.plan, self.folder, begun=newest is not None)
        if newest is None:
            return
        self.accelerator.load_state(str(newest))
        self.step = self._checkpoints.steps()[-1]


def learning_rate(plan: Plan, step: int) -> float:
    """Of one step, counted from 0: up in ``warmup`` steps, then a cosine down to a fiftieth."""
    progress = min(step / plan.steps, 1)
    return (
        plan.learning_rate
        * min(1, (step + 1) / max(plan.warmup, 1))
        * (0.02 + 0.49 * (1 + math.cos(math.pi * progress)))
    )


def _share(plan: Plan, processes: int) -> int:
    if plan.batch % processes:
        raise TrainingError(
            f"A batch of {plan.batch} can't be divided among {processes} processes; choose a number of processes that "
            f"divides {plan.batch}."
        )
    return plan.batch // processes


def _is_turn(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _checkpoint_activations(player: nn.Module) -> None:
    for module in player.modules():
        switch: Callable[[], None] | None = getattr(module, "enable_gradient_checkpointing", None) or getattr(
            module, "gradient_checkpointing_enable", None
        )
        if switch is not None:
            with contextlib.suppress(ValueError):  # diffusers' way of saying that a network has nothing to checkpoint
                switch()
