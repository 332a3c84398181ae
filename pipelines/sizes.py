"""Sizes of pictures: which can be painted, and which smaller ones stand in for a size when time is short."""

from __future__ import annotations

from pipelines.errors import PipelineError

#: Sides must be whole latent pixels at every stage of the U-Net: 8 (decoder) × 4 (two downsamplings).
SIDE_MULTIPLE = 32


def check_size(size: tuple[int, int]) -> None:
    """Raises PipelineError for a (height, width) that no model here can paint."""
    height, width = size
    if height % SIDE_MULTIPLE or width % SIDE_MULTIPLE or height <= 0 or width <= 0:
        raise PipelineError(
            f"Pictures of {width}×{height} can't be painted; give sides that are multiples of {SIDE_MULTIPLE}."
        )


def smaller_ones(size: tuple[int, int]) -> list[tuple[int, int]]:
    """The size itself, about three quarters and half of it; fewer of one that is small already."""
    return list(dict.fromkeys(_share(size, share) for share in (1.0, 0.75, 0.5)))


def _share(size: tuple[int, int], share: float) -> tuple[int, int]:
    """About so much of each side, in whole steps; the size itself for 1."""
    step = 2 * SIDE_MULTIPLE
    height, width = (min(side, max(step, round(side * share / step) * step)) for side in size)
    return size if share == 1.0 else (height, width)
