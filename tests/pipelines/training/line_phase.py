"""A phase small enough to follow by hand: a line fitted to points, and an opponent that trains on what it answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from pipelines.training.dice import Dice
from pipelines.training.phase import Batch, Plan, Weights

PLAN = Plan(steps=12, learning_rate=0.05, batch=8, warmup=2, ema=0.9, log_every=1, validate_every=4, checkpoint_every=4)


class Line(nn.Module):
    """y = w·x + b, and the samples' own noise on x."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.net = nn.Linear(1, 1)

    def forward(self, batch: Batch, dice: Dice) -> dict[str, Tensor]:
        x = batch["x"] + 0.1 * dice.normal(1)
        return {"loss": (self.net(x) - batch["y"]).square().mean(), "slope": self.net.weight.sum()}


class Opponent(nn.Module):
    """Learns what the line answers; holds the line without registering it."""

    def __init__(self, line: Line) -> None:
        super().__init__()
        self.net = nn.Linear(1, 1)
        self.seen = [line]

    def forward(self, batch: Batch, dice: Dice) -> dict[str, Tensor]:
        answer = self.seen[0].net(batch["x"])
        assert not answer.requires_grad, "the line is not in its turn"
        return {"loss": (self.net(batch["x"]) - answer).square().mean() + 0 * dice.uniform().mean()}


class LinePhase:
    """``broken_at``: the step whose loss is not a number. ``after``: called after each fetch with its position."""

    name = "line"

    def __init__(self, plan: Plan = PLAN, *, broken_at: int | None = None, after: Any = None, **changes: Any) -> None:
        self.plan = dataclasses.replace(plan, **changes)
        line = Line()
        self.players: Mapping[str, nn.Module] = {"line": line, "opponent": Opponent(line)}
        self.rates = {"opponent": 0.5}
        self.averaged: Mapping[str, nn.Module] = {"net": line.net}
        self.broken_at, self.after = broken_at, after

    def to(self, device: Any) -> None:
        pass

    def fetch(self, position: int) -> Mapping[str, Any]:
        x = np.random.default_rng(position).standard_normal(1, dtype=np.float32)
        broken = self.broken_at is not None and position // self.plan.batch == self.broken_at
        if self.after is not None:
            self.after(position)
        return {
            "x": torch.from_numpy(x),
            "y": torch.from_numpy(2 * x + (np.nan if broken else 1)),
            "word": str(position),
        }

    def validate(self) -> dict[str, float]:
        net = self.averaged["net"]
        return {"distance": float((net.weight - 2).abs() + (net.bias - 1).abs()), "slope": float(net.weight)}

    def picture(self) -> NDArray[np.uint8]:
        return np.full((8, 8, 3), 200, np.uint8)

    def export(self, folder: Path, weights: Mapping[str, Weights]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(dict(weights["net"]), folder / "net.safetensors")
