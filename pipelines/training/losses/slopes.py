"""How pictures differ in their gradients."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def slope_l1(ours: Tensor, theirs: Tensor) -> Tensor:
    """|∇x − ∇y|: of the steps from each pixel to the next, right and down. Thin lines are most of it."""
    across = functional.l1_loss(ours.diff(dim=-1), theirs.diff(dim=-1))
    return across + functional.l1_loss(ours.diff(dim=-2), theirs.diff(dim=-2))
