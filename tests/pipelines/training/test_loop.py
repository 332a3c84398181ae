"""The loop: resuming, pieces, players in turn, averages, what goes wrong and what is written."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from pipelines.errors import TrainingError, TrainingStopped
from pipelines.training import stopping
from pipelines.training.journal import LOG, VALIDATION, read_journal
from pipelines.training.loop import Trainer, learning_rate
from pipelines.training.phase import Plan
from tests.pipelines.training.line_phase import PLAN, LinePhase

ROOT = Path(__file__).parents[3]


def curve(folder: Path) -> list[dict[str, float]]:
    return read_journal(folder, LOG)


def test_the_loss_falls_and_what_is_exported_is_the_average(tmp_path: Path) -> None:
    phase = LinePhase(steps=60)
    losses = Trainer(phase, tmp_path / "run").run(exported=tmp_path / "model")
    assert len(losses) == 60
    assert sum(losses[-5:]) < sum(losses[:5]) / 3
    told = read_journal(tmp_path / "run", VALIDATION)
    assert [line["step"] for line in told] == [0, *range(4, 61, 4)]
    assert told[-1]["distance"] < told[0]["distance"] / 2
    weights = load_file(tmp_path / "model" / "net.safetensors")
    assert float(weights["weight"]) == pytest.approx(told[-1]["slope"], abs=1e-6)  # validated with what is shipped
    live = float(phase.averaged["net"].weight)
    assert abs(live - float(weights["weight"])) > 1e-4, "the average lags behind, or it isn't one"


def test_a_resumed_run_has_the_losses_of_an_unbroken_one(tmp_path: Path) -> None:
    Trainer(LinePhase(), tmp_path / "whole").run(exported=tmp_path / "whole-model")
    Trainer(LinePhase(), tmp_path / "parts").run(until=5)
    Trainer(LinePhase(), tmp_path / "parts").run(until=6)
    rest = Trainer(LinePhase(), tmp_path / "parts")
    assert rest.step == 6
    rest.run(exported=tmp_path / "parts-model")
    assert curve(tmp_path / "parts") == curve(tmp_path / "whole")
    whole, parts = (load_file(tmp_path / f"{name}-model" / "net.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(whole[key], parts[key]) for key in whole)


def test_a_killed_run_goes_on_from_its_checkpoint_with_the_same_curve(tmp_path: Path) -> None:
    script = f"""
import os, signal
from pathlib import Path
from pipelines.training.loop import Trainer
from tests.pipelines.training.line_phase import LinePhase
kill = lambda position: position == 8 * 10 and os.kill(os.getpid(), signal.SIGKILL)
Trainer(LinePhase(after=kill), Path({str(tmp_path / "killed")!r})).run()
"""
    ended = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert ended.returncode == -signal.SIGKILL
    torn = [line["step"] for line in curve(tmp_path / "killed")]
    assert torn[-1] in (9, 10), "it was killed past its last checkpoint"
    trainer = Trainer(LinePhase(), tmp_path / "killed")
    assert trainer.step == 8
    trainer.run()
    Trainer(LinePhase(), tmp_path / "whole").run()
    assert curve(tmp_path / "killed") == curve(tmp_path / "whole")


@pytest.mark.parametrize("micro_batch", [1, 3, 8])
def test_going_through_a_batch_in_pieces_changes_nothing(tmp_path: Path, micro_batch: int) -> None:
    whole = Trainer(LinePhase(), tmp_path / "whole").run()
    pieces = Trainer(LinePhase(micro_batch=micro_batch), tmp_path / "pieces").run()
    assert pieces == pytest.approx(whole, rel=1e-4)


def test_workers_fetch_the_same_samples(tmp_path: Path) -> None:
    alone = Trainer(LinePhase(), tmp_path / "alone").run()
    assert Trainer(LinePhase(workers=2), tmp_path / "workers").run() == alone


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_last_good_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"line is no longer finite at step 9; .*step-0000008\. Lower"):
        Trainer(LinePhase(broken_at=9), tmp_path).run()
    good = Trainer(LinePhase(), tmp_path)
    assert good.step == 8
    assert all(torch.isfinite(p).all() for player in good.phase.players.values() for p in player.parameters())
    with pytest.raises(TrainingError, match="there is no checkpoint yet"):
        Trainer(LinePhase(broken_at=1), tmp_path / "early").run()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_saves_and_says_how_to_go_on(tmp_path: Path, number: signal.Signals) -> None:
    before = signal.getsignal(number)
    interrupt = LinePhase(after=lambda position: position == 8 * 6 and os.kill(os.getpid(), number))
    with pytest.raises(TrainingStopped, match="step 7 of 12 of line; everything is saved"):
        Trainer(interrupt, tmp_path / "parts").run()
    assert signal.getsignal(number) is before
    Trainer(LinePhase(), tmp_path / "parts").run()
    Trainer(LinePhase(), tmp_path / "whole").run()
    assert curve(tmp_path / "parts") == curve(tmp_path / "whole")


def test_when_the_time_is_up_it_saves_and_the_next_piece_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that a step takes ten seconds of; pieces of 25 seconds."""
    now = [0.0]
    monkeypatch.setattr(stopping, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def tick(position: int) -> None:
        now[0] += 10 / PLAN.batch

    ends: list[int] = []
    while len(ends) < 20:
        trainer = Trainer(LinePhase(after=tick), tmp_path / "parts")
        try:
            trainer.run(ends=now[0] + 25, exported=tmp_path / "parts-model")
        except TrainingStopped:
            ends.append(trainer.step)
            continue
        break
    assert ends == [3, 6, 9, 12]
    Trainer(LinePhase(), tmp_path / "whole").run(exported=tmp_path / "whole-model")
    assert curve(tmp_path / "parts") == curve(tmp_path / "whole")
    whole, parts = (load_file(tmp_path / f"{name}-model" / "net.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(whole[key], parts[key]) for key in whole)


def test_an_interrupt_in_the_last_step_ends_there_and_nothing_is_missing(tmp_path: Path) -> None:
    interrupt = LinePhase(after=lambda position: position == 8 * 11 and os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(TrainingStopped, match="step 12 of 12"):
        Trainer(interrupt, tmp_path / "run").run(exported=tmp_path / "model")
    assert read_journal(tmp_path / "run", VALIDATION)[-1]["step"] == 12
    assert not (tmp_path / "model").exists()
    assert Trainer(LinePhase(), tmp_path / "run").run(exported=tmp_path / "model") == []
    assert (tmp_path / "model" / "net.safetensors").is_file()


def test_old_checkpoints_go_and_each_holds_a_model(tmp_path: Path) -> None:
    Trainer(LinePhase(), tmp_path).run()
    found = sorted(each.name for each in (tmp_path / "checkpoints").iterdir())
    assert found == ["step-0000008", "step-0000012"]
    assert all((tmp_path / "checkpoints" / name / "model" / "net.safetensors").is_file() for name in found)
    assert (tmp_path / "samples" / "step-0000012.png").is_file()
    assert list((tmp_path / "tensorboard").iterdir())


def test_another_plan_is_refused_and_what_changes_nothing_is_not(tmp_path: Path) -> None:
    Trainer(LinePhase(), tmp_path).run(until=4)
    with pytest.raises(TrainingError, match=r"begun with learning_rate = 0\.05, and the recipe now says 0\.1"):
        Trainer(LinePhase(learning_rate=0.1), tmp_path)
    assert Trainer(LinePhase(micro_batch=2, checkpoint_minutes=1), tmp_path).step == 4


def test_a_finished_phase_does_nothing_again(tmp_path: Path) -> None:
    Trainer(LinePhase(), tmp_path).run()
    before = curve(tmp_path)
    assert Trainer(LinePhase(), tmp_path).run(exported=tmp_path / "model") == []
    assert curve(tmp_path) == before
    assert (tmp_path / "model" / "net.safetensors").is_file()


def test_the_rate_goes_up_in_the_warm_up_and_down_to_a_fiftieth() -> None:
    plan = Plan(steps=100, learning_rate=1.0, batch=1, warmup=10)
    rates = [learning_rate(plan, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1, rel=0.01)
    assert max(rates) == max(rates[8:12])
    assert learning_rate(plan, 100) == pytest.approx(0.02)
    assert all(later < earlier for earlier, later in itertools.pairwise(rates[10:]))


def test_the_plan_file_says_what_was_run(tmp_path: Path) -> None:
    Trainer(LinePhase(), tmp_path).run(until=1)
    assert json.loads((tmp_path / "plan.json").read_text())["batch"] == PLAN.batch
