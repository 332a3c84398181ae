"""What a U-Net's stages give on the way: the features that distillation compares.

A down stage's feature is the output of its last layer, before it is downsampled: the student's last stage has no
downsampler where the teacher's has one, so that both are of one size. An up stage's is its output, a mid block's too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from pipelines.training.model import Words, predict


@contextmanager
def recorded(unet: Any, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """While it is open, each forward pass leaves the features of those blocks (``down_blocks.0``, ``mid_block``,
    ``up_blocks.2``) in the dictionary. Gradients pass. The hooks are gone afterwards, whatever happened."""
    found: dict[str, Tensor] = {}
    handles = [unet.get_submodule(name).register_forward_hook(_keep(found, name)) for name in names]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def shared_blocks(teacher: Any, student: Any, *, down: bool = True, up: bool = True) -> list[tuple[str, str]]:
    """The blocks that teacher and student both have, as (the teacher's name, the student's).

    Where the teacher's last stage was dropped, the student's up stage j is the teacher's j + 1, and a mid block that
    stayed works at another resolution than the teacher's.
    """
    dropped = len(teacher.up_blocks) - len(student.up_blocks)
    pairs = []
    if down:
        pairs += [(f"down_blocks.{stage}", f"down_blocks.{stage}") for stage in range(len(student.down_blocks))]
    if down and up and not dropped and teacher.mid_block is not None and student.mid_block is not None:
        pairs.append(("mid_block", "mid_block"))
    if up:
        pairs += [(f"up_blocks.{stage + dropped}", f"up_blocks.{stage}") for stage in range(len(student.up_blocks))]
    return pairs


def encoder_features(unet: Any, noisy: Tensor, t: Tensor, words: Words) -> list[Tensor]:
    """The features of a U-Net's down stages at x_t, from the highest resolution on. What comes after isn't run.

    ``noisy``: B×C×h×w; ``t``: B timesteps. Gradients pass.
    """
    names = [f"down_blocks.{stage}" for stage in range(len(unet.down_blocks))]
    after: nn.Module = unet.up_blocks[0] if unet.mid_block is None else unet.mid_block
    handle = after.register_forward_pre_hook(_stop)
    try:
        with recorded(unet, names) as found:
            predict(unet, noisy, t, words)
    except _Enough:
        pass
    finally:
        handle.remove()
    return [found[name] for name in names]


def distance(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> Tensor:
    """Σ_l ‖f_l − f̃_l‖² / ‖f̃_l‖², B: each feature counts alike, whatever its width, size and scale. f̃: ``theirs``."""
    terms = []
    for own, other in zip(ours, theirs, strict=True):
        exact = torch.promote_types(other.dtype, torch.float32)
        own, other = own.flatten(1).to(exact), other.flatten(1).to(exact)
        terms.append((own - other).square().mean(1) / other.square().mean(1).clamp_min(1e-8))
    return torch.stack(terms).sum(0)


class _Enough(Exception):
    """Leaves a forward pass of which all that was wanted is there."""


def _stop(module: nn.Module, given: Any) -> None:
    raise _Enough


def _keep(found: dict[str, Tensor], name: str) -> Callable[[nn.Module, Any, Any], None]:
    def hook(block: nn.Module, given: Any, output: Any) -> None:
        if isinstance(output, tuple):  # a down stage: what goes on, and what each layer and the downsampler gave
            _, states = output
            found[name] = states[-2] if getattr(block, "downsamplers", None) else states[-1]
        else:
            found[name] = output

    return hook
