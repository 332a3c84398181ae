"""The adversarial game, first-order only: it runs sharded, checkpointed and in pieces like any other loss.

    generator:      softplus(−D(fake))                               (GAN, arXiv 1406.2661, the non-saturating form)
    discriminator:  softplus(D(fake)) + softplus(−D(real)) + γ·R1
    R1:             E ‖∇D(real)‖² ≈ E[(D(real + σ·n) − D(real))²] / σ²,   n ~ N(0, I)

R1 (arXiv 1801.04406) keeps the game stable without any norm over the batch; taken as a difference (arXiv 2501.08316) it
needs no gradient of a gradient. All are means over the samples and patches that D answers for.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.func import functional_call
from torch.nn import functional


def generator_loss(fake: Tensor) -> Tensor:
    """Of D's answers (logits, B×…) to what the generator made; scalar."""
    return functional.softplus(-fake).mean()


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Of D's answers (logits, B×…) to the true and the made; scalar."""
    return functional.softplus(fake).mean() + functional.softplus(-real).mean()


def r1(clean: Tensor, shifted: Tensor, sigma: float) -> Tensor:
    """Of D's answers (logits, B×…) to the true, and to the true with noise of that standard deviation added; scalar."""
    return (shifted - clean).square().mean() / sigma**2


def game(real: Tensor, fake: Tensor, shifted: Tensor, *, gamma: float, sigma: float) -> dict[str, Tensor]:
    """A discriminator's turn: ``loss``, and how sure it is of both on average."""
    loss = discriminator_loss(real, fake) + gamma * r1(real, shifted, sigma)
    return {"loss": loss, "real": real.mean(), "fake": fake.mean()}


def frozen(network: nn.Module, *inputs: Any, **named: Any) -> Any:
    """``network(*inputs)`` whose gradients reach the inputs alone: how a player asks its opponent.

    Weights may be sharded: they are gathered for the call.
    """
    state = {name: _whole(parameter.detach()) for name, parameter in network.named_parameters()}
    return functional_call(network, state, inputs, named)


def _whole(weight: Tensor) -> Tensor:
    return weight.full_tensor() if isinstance(weight, DTensor) else weight


def full_precision(device: torch.device) -> Any:
    """A context in which differences of answers are not lost to half precision."""
    return torch.autocast(device.type, enabled=False)
