"""A run that is interrupted and resumed gives what an unbroken one gives."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pipelines.training.loop import Schedule, Trainer

SCHEDULE = Schedule(steps=12, learning_rate=1e-2, warmup=3, log_every=4, workers=0)


class Line:
    """A line fitted to noisy points, with noise from torch's generator as well."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.modules = nn.ModuleDict({"line": nn.Linear(1, 1)})

    @property
    def draw(self):
        return lambda rng: torch.from_numpy(rng.standard_normal((8, 1), dtype=np.float32))

    def loss(self, batch: torch.Tensor) -> dict[str, torch.Tensor]:
        found = self.modules["line"](batch + 0.1 * torch.randn_like(batch))
        return {"loss": ((found - 3 * batch - 1) ** 2).mean()}


def test_resuming_gives_the_losses_and_weights_of_an_unbroken_run(tmp_path: Path) -> None:
    whole = Trainer(Line(), SCHEDULE, tmp_path / "whole")
    expected = whole.run()
    losses = []
    for until in (5, 7, None):
        trainer = Trainer(Line(), SCHEDULE, tmp_path / "pieces")
        losses += trainer.run(until=until)
    assert len(expected) == SCHEDULE.steps
    assert losses == pytest.approx(expected, rel=1e-6)
    for name, value in whole.average.items():
        torch.testing.assert_close(trainer.average[name], value)


def test_the_log_has_one_line_a_period(tmp_path: Path) -> None:
    Trainer(Line(), SCHEDULE, tmp_path).run()
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 3


def test_a_finished_run_has_nothing_left_to_do(tmp_path: Path) -> None:
    Trainer(Line(), SCHEDULE, tmp_path).run()
    assert Trainer(Line(), SCHEDULE, tmp_path).run() == []


def test_the_learning_rate_rises_then_falls() -> None:
    rates = [SCHEDULE.rate(step) for step in range(SCHEDULE.steps + 1)]
    assert rates[0] < rates[2]
    assert rates[3:] == sorted(rates[3:], reverse=True)
    assert rates[-1] == pytest.approx(SCHEDULE.learning_rate / 50)
