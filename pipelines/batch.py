"""What can be painted in one forward: maps and settings that fit together."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from pipelines.errors import PipelineError
from pipelines.settings import Settings
from pipelines.sizes import check_size


def check_maps(maps: Tensor, settings: Sequence[Settings]) -> None:
    """Raises PipelineError unless these are float B×K×3×H×W maps for B settings."""
    if maps.ndim != 5 or maps.shape[2] != 3 or not maps.is_floating_point():
        raise PipelineError(f"Condition maps are float B×3×H×W or B×K×3×H×W; these are {_shape(maps)}.")
    check_batch(maps, settings)


def check_batch(maps: Tensor, settings: Sequence[Settings]) -> None:
    """Raises PipelineError unless B×K×...×H×W maps go with the settings, and the settings with one another."""
    if len(maps) != len(settings) or not len(maps):
        raise PipelineError(f"There are {len(maps)} condition maps but {len(settings)} settings; give one for each.")
    first = settings[0]
    if any((s.kinds, s.lora, s.lora_scale) != (first.kinds, first.lora, first.lora_scale) for s in settings):
        raise PipelineError("The settings of one batch need the same kinds of control and the same LoRA; split it.")
    if maps.shape[1] != len(first.kinds):
        raise PipelineError(
            f"These settings take {len(first.kinds)} maps a picture ({', '.join(first.kinds) or 'text alone'}), "
            f"but there are {maps.shape[1]}."
        )
    check_size((maps.shape[-2], maps.shape[-1]))


def _shape(tensor: Tensor) -> str:
    return f"{tensor.dtype} {list(tensor.shape)}"
