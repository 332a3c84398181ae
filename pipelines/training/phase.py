"""What a stage gives the loop: a phase is one thing that trains from its first step to its last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

#: Collated samples: tensors get a first dimension B, everything else becomes a list of B.
Batch = Mapping[str, Any]
Weights = Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long and how fast a phase trains.

    ``batch``: samples a step, over all processes and pieces; ``micro_batch``: samples a forward pass and process (0: a
    process's whole share), the rest is gradient accumulation. ``learning_rate``: of AdamW, ``warmup`` steps up, then a
    cosine down to a fiftieth. ``ema``: the averaged weights' decay a step (0: the last weights are exported).
    ``gradient_checkpointing``: activations of the networks are computed again instead of kept. Numbers of steps:
    ``log_every``, ``validate_every`` and ``sample_every`` (0: at start and end only), ``checkpoint_every`` (0: by
    ``checkpoint_minutes`` alone). ``keep``: how many checkpoints stay. ``workers``: processes that fetch samples.
    """

    steps: int
    learning_rate: float
    batch: int
    micro_batch: int = 0
    warmup: int = 20
    weight_decay: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.99)
    clip: float = 1.0
    ema: float = 0.999
    gradient_checkpointing: bool = False
    log_every: int = 10
    validate_every: int = 0
    sample_every: int = 0
    checkpoint_every: int = 0
    checkpoint_minutes: float = 5.0
    keep: int = 2
    workers: int = 0
    seed: int = 0


class Phase(Protocol):
    """One thing that trains. All modules live on the CPU until the loop moves them with ``to``."""

    @property
    def name(self) -> str:
        """``STAGE`` or ``STAGE/PART``: its folder in the run."""

    @property
    def plan(self) -> Plan: ...

    @property
    def players(self) -> Mapping[str, nn.Module]:
        """Who trains, in the order of their turns in each step. Each is called as ``player(batch, dice)`` with its part
        of the batch and gives scalars by name (means over the samples); ``loss`` is minimised, the others are logged.

        A player's submodules are what it trains, and nothing else: networks that stay frozen, and the other players'
        networks, are held where ``nn.Module`` doesn't register them (a plain object, such as ``Model``).
        """

    @property
    def rates(self) -> Mapping[str, float]:
        """Factors on the plan's learning rate for the players that have another one."""

    @property
    def averaged(self) -> Mapping[str, nn.Module]:
        """The networks whose averaged weights are validated and exported; parts of the players."""

    def to(self, device: Any) -> None:
        """Move what the players don't register: the frozen networks."""

    def fetch(self, position: int) -> Mapping[str, Any]:
        """The sample at that position of an endless, fixed order (step · batch + place). May run in a worker."""

    def validate(self) -> dict[str, float]:
        """Numbers on samples that are not trained on, with the averaged weights in place; the first is the phase's own
        validation number, and lower is better. The same every time it is asked with the same weights."""

    def picture(self) -> NDArray[np.uint8]:
        """A grid of samples, H×W×3 RGB, with the averaged weights in place."""

    def export(self, folder: Path, weights: Mapping[str, Weights]) -> None:
        """Write the whole model as this phase leaves it to the directory ``folder``, which the loop chooses (each
        checkpoint has one); ``weights``: the averaged ones by the names of ``averaged``, on the CPU. Called in the
        first process alone."""
