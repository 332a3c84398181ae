"""What a teacher answers at x_t, and how far from it a student's answer is: shared by the stages that distil."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from pipelines.training.dice import Dice
from pipelines.training.features import recorded
from pipelines.training.model import Model, predict
from pipelines.training.phase import Batch


class Triplets(Protocol):
    """Samples to learn from: ``noise``, ``latents``, ``picture``, ``prompt`` of the teacher's (``data.samples``), or
    ``picture`` and ``prompt`` of a data set (``data.pictures``)."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Mapping[str, Any]: ...


def latents_of(teacher: Model, batch: Batch) -> Tensor:
    """x₀: the sampled latents, or the encoded pictures where the data are pictures."""
    latents: Tensor = batch["latents"] if "latents" in batch else teacher.encode(batch["picture"])
    return latents


def together(samples: Sequence[Mapping[str, Any]], device: torch.device) -> dict[str, Any]:
    """Some samples as a batch, as the loop collates them."""
    columns = {name: [each[name] for each in samples] for name in samples[0]}
    return {
        name: torch.stack(values).to(device) if isinstance(values[0], Tensor) else values
        for name, values in columns.items()
    }


@torch.no_grad()
def teachers_answer(
    teacher: Model,
    noisy: Tensor,
    t: Tensor,
    prompts: Sequence[str],
    blocks: Sequence[str],
    *,
    guidance: float = 1.0,
    control: str = "",
    maps: Tensor | None = None,
) -> tuple[Tensor, list[Tensor]]:
    """The teacher's raw output at x_t and the features of some of its blocks.

    ``guidance``: classifier-free guidance of the output (arXiv 2207.12598; 1 is none); features are those under the
    prompt. ``control`` and ``maps``: the kind of its ControlNet that takes part, and what that is shown.
    """
    words = teacher.words(prompts)
    added = teacher.control(control, noisy, t, words, maps) if control and maps is not None else None
    with recorded(teacher.unet, blocks) as found:
        output = predict(teacher.unet, noisy, t, words, added)
    features = [found[name] for name in blocks]
    if guidance != 1:
        nothing = teacher.words([""] * len(prompts))
        added = teacher.control(control, noisy, t, nothing, maps) if control and maps is not None else None
        without = predict(teacher.unet, noisy, t, nothing, added)
        output = without + guidance * (output - without)
    return output, features


def without_some(prompts: Sequence[str], dice: Dice, share: float) -> list[str]:
    """The prompts, about that share of them made empty: what guidance needs to know of a student."""
    kept = (dice.uniform() >= share).tolist()
    return [prompt if keep else "" for prompt, keep in zip(prompts, kept, strict=True)]


def mean_square(ours: Tensor, theirs: Tensor) -> Tensor:
    """‖ours − theirs‖², a mean over each sample, B; in single precision at least."""
    exact = torch.promote_types(theirs.dtype, torch.float32)
    return (ours.to(exact) - theirs.to(exact)).square().flatten(1).mean(1)
