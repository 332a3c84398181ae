"""Several processes training one model together, each on its own samples, their gradients averaged (torchrun).

On a CPU, two processes of one thread each are far quicker than one of two threads, most of all on a busy machine: they
meet once a step and not once a layer.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import nn


def join() -> None:
    """Join the group that torchrun's environment describes; alone, nothing happens."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        dist.init_process_group("gloo")
        torch.set_num_threads(1)


def leave() -> None:
    """Leave the group, if there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    """This process's number, 0 where it is alone; number 0 writes the files."""
    return dist.get_rank() if dist.is_initialized() else 0


def average_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Replace every gradient by its mean over the processes."""
    if not dist.is_initialized():
        return
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    together = torch.cat([gradient.reshape(-1) for gradient in gradients])
    dist.all_reduce(together)
    together /= dist.get_world_size()
    pieces = together.split([gradient.numel() for gradient in gradients])
    for parameter, gradient, piece in zip(parameters, gradients, pieces, strict=True):
        parameter.grad = gradient.copy_(piece.view(gradient.shape))
