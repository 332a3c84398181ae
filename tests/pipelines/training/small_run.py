"""What stages are tried with: a tiny teacher's samples and a run's folder around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import default_collate

from pipelines.training.data.samples import SamplesPlan
from pipelines.training.dice import Dice
from pipelines.training.phase import Phase
from pipelines.training.run import Run
from tests.pipelines.training import tiny_teacher

SAMPLES = SamplesPlan(count=48, held_out=16, steps=2, guidance=1.0, batch=16)
LETTERS = "a b c, d e f"


def small_run(folder: Path, **stages: Any) -> Run:
    """A run whose teacher is ``tiny_teacher``; ``stages``: the settings of the stages that are tried. What is there of
    it already stays."""
    teacher, prompts = folder / "teacher", folder / "prompts.txt"
    if not teacher.is_dir():
        tiny_teacher.save(folder)
        prompts.write_text("\n".join(f"{each}, {LETTERS}" for each in "abcdefghijklmnopqrstuvwxyz" * 2))
    recipe: Any = SimpleNamespace(name="small", size=(64, 64), data=str(prompts), samples=SAMPLES, teacher="", **stages)
    return Run(folder=folder / "run", recipe=recipe, teacher=str(teacher))


def first_batch(phase: Phase, count: int) -> dict[str, Any]:
    """The first samples as the loop collates them."""
    samples = [phase.fetch(position) for position in range(count)]
    return {
        name: default_collate([each[name] for each in samples])
        if isinstance(value, Tensor)
        else [each[name] for each in samples]
        for name, value in samples[0].items()
    }


def gradients(player: nn.Module, batch: Mapping[str, Any], *, pieces: Sequence[int], step: int = 0) -> list[Tensor]:
    """Of the mean loss over a batch that is gone through in pieces of those sizes."""
    player.zero_grad()
    start, count = 0, sum(pieces)
    for size in pieces:
        part = {name: value[start : start + size] for name, value in batch.items()}
        loss = player(part, Dice(0, step, range(start, start + size)))["loss"]
        (loss * size / count).backward()
        start += size
    found = [torch.zeros_like(each) if each.grad is None else each.grad.clone() for each in player.parameters()]
    player.zero_grad()
    return found


def same(left: Sequence[Tensor], right: Sequence[Tensor], *, tolerance: float = 1e-5) -> bool:
    """Whether two lists of gradients are equal up to rounding, measured against the largest entry."""
    most = max(float(each.abs().max()) for each in left)
    assert most > 0, "there is no gradient at all"
    apart = max(float((a - b).abs().max()) for a, b in zip(left, right, strict=True))
    return apart < tolerance * most
