"""Samples with nothing behind them, and a run's folder with a recipe of what is needed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import torch

from pipelines.training.data.samples import SamplesPlan
from pipelines.training.removal import TO_SDXS_512
from pipelines.training.run import Run

SAMPLING = SamplesPlan(count=8, held_out=4, steps=2, guidance=2.0)


def triplets(count: int, first: int = 0) -> list[dict[str, Any]]:
    """64×64 pictures of a bright rectangle, with latents and noise that have nothing to do with it."""
    found = []
    for number in range(first, first + count):
        chance = torch.Generator().manual_seed(number)
        picture = torch.full((3, 64, 64), -0.5)
        top, left = (int(place) for place in torch.randint(4, 30, (2,), generator=chance))
        picture[:, top : top + 24, left : left + 28] = 0.6
        found.append(
            {
                "noise": torch.randn(4, 8, 8, generator=chance),
                "latents": torch.randn(4, 8, 8, generator=chance),
                "picture": picture,
                "prompt": "abcdefgh"[number % 8],
            }
        )
    return found


def run_in(folder: Path, teacher: Path, *, data: str = "shapes", **plans: Any) -> Run:
    """``plans``: the recipe's fields for the stages that are asked."""
    recipe = {"name": "tiny", "size": (64, 64), "data": data, "samples": SAMPLING, "removal": TO_SDXS_512}
    recipe |= {"teacher": "", "teacher_controlnets": (), **plans}
    return Run(folder=folder, recipe=cast(Any, SimpleNamespace(**recipe)), teacher=str(teacher))
