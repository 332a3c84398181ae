"""What each of two processes runs: the decoder's phase to its end. Arguments: where the run is, where to train."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from pipelines.training.loop import Trainer
from pipelines.training.phase import Plan
from pipelines.training.run import Run
from pipelines.training.stages import decoder
from pipelines.training.stages.decoder import DecoderPlan
from pipelines.training.train import join
from tests.pipelines.training.small_run import small_run

STEPS = 6


def settings(micro_batch: int) -> DecoderPlan:
    """Three players, from the first step on."""
    return DecoderPlan(
        plan=Plan(steps=STEPS, learning_rate=5e-3, batch=8, micro_batch=micro_batch, warmup=2, ema=0.5, log_every=1),
        channels=8,
        blocks=(1, 1, 1, 1),
        encoder_channels=8,
        encoder_blocks=(1, 1, 1, 1),
        critic_channels=4,
        adversarial_from=0.0,
    )


def a_run(folder: Path, micro_batch: int = 0) -> Run:
    """A run with the decoder's plan alone; the same in every process."""
    return small_run(folder, decoder=settings(micro_batch))


def train(run: Run, out: Path) -> list[float]:
    """The losses of the steps; the model is in ``out``."""
    (phase,) = decoder.phases(run, device=torch.device("cpu"))
    return Trainer(phase, out).run(exported=out / "model")


if __name__ == "__main__":
    torch.set_num_threads(1)
    place, out = Path(sys.argv[1]), Path(sys.argv[2])
    assert join().num_processes == 2
    train(a_run(place, micro_batch=2), out)
