"""One conditioner for each kind of maps that a model takes."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from pipelines.canny import CannyConditioner
from pipelines.condition import Conditioner
from pipelines.depth import DepthConditioner
from pipelines.settings import Kind
from pipelines.sketch import SketchConditioner


def make_conditioners(kinds: Iterable[Kind], *, device: torch.device) -> dict[Kind, Conditioner]:
    """Conditioners whose networks run on ``device``. Nothing is loaded or fetched before one is asked to draw."""
    return {kind: _make(kind, device) for kind in kinds}


def _make(kind: Kind, device: torch.device) -> Conditioner:
    if kind == "depth":
        return DepthConditioner(device=device)
    if kind == "sketch":
        return SketchConditioner(device=device)
    return CannyConditioner()
