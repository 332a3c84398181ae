"""Which model is measured: one that is here, or one of a true layout whose random weights are written for it."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pipelines.device import dtype_name, pick_device, pick_dtype
from pipelines.presets import Preset
from pipelines.settings import Settings
from realtime.bench.errors import need
from realtime.errors import BadInput

if TYPE_CHECKING:
    from pipelines.files import ModelFiles

RANDOM = "random:"
#: What is measured unless something else is asked for: the one for CPUs, and the one for GPUs without a network.
ON_CPU, ON_GPU = "embedded", f"{RANDOM}sdxs-512-dreamshaper"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subject:
    """A model that is here: ``name`` (or directory) loads it in any process; on ``device`` it runs in ``dtype``."""

    name: str
    preset: Preset
    device: torch.device
    dtype: torch.dtype

    @property
    def settings(self) -> Settings:
        """What is painted with: the model's own defaults, without a LoRA, canny in front where it has that.

        Pictures are shown as they are painted: what ``steadiness`` takes is timed by itself.
        """
        kinds = [control.kind for control in self.preset.controls]
        control = "canny" if "canny" in kinds else "none"
        return self.preset.defaults.replace(control=control, extra_controls={}, lora="", seed=1, steadiness=0.0)

    def files(self) -> ModelFiles:
        from pipelines.locate import locate

        return locate(self.name, half=self.dtype.itemsize == 2)

    def about(self) -> Mapping[str, str]:
        """For a report's ``subject``."""
        height, width = self.preset.size
        return {
            "model": self.preset.name,
            "size": f"{width}x{height}",
            "precision": dtype_name(self.dtype),
            "device": str(self.device),
        }


@contextlib.contextmanager
def subject(model: str = "auto") -> Iterator[Subject]:
    """The model behind a name of ``sdxs-live models``, a directory, OWNER/NAME, or ``random:LAYOUT``.

    ``auto``: the embedded model on a CPU, SDXS-512 with its ControlNet and random weights on a GPU. Random weights are
    written to a temporary folder, in half precision, for as long as the context lasts; nothing is fetched. Raises
    BadInput for a layout that there isn't and what locating the model raises.
    """
    need("diffusers", "transformers", "safetensors")
    device = pick_device("auto")
    if model == "auto":
        model = ON_GPU if device.type == "cuda" else ON_CPU
    if not model.startswith(RANDOM):
        yield _found(model, device)
        return
    from realtime.bench.random_weights import LAYOUTS, write_model

    layout = model.removeprefix(RANDOM)
    if layout not in LAYOUTS:
        raise BadInput(f"There is no layout {layout!r}; there are {', '.join(LAYOUTS)}.")
    with tempfile.TemporaryDirectory(prefix="sdxs-bench-") as folder:
        yield _found(str(write_model(layout, Path(folder), device=device)), device)


def _found(name: str, device: torch.device) -> Subject:
    from pipelines.locate import locate

    preset = locate(name, half=device.type == "cuda").preset
    return Subject(name=name, preset=preset, device=device, dtype=pick_dtype(preset, device))
