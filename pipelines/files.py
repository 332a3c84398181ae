"""Where the files of one model are on this machine: what ``locate`` finds and ``load_checkpoint`` reads."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from pipelines.presets import Preset
from pipelines.settings import Kind


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelFiles:
    """``directory`` holds ``model_index.json`` and the base model's folders; the others may lie anywhere.

    ``vae``: the folder of the decoder. ``controlnets``: the folder of each kind's ControlNet; kinds that share a folder
    share one network. ``loras``: by the name that ``Settings.lora`` gives, a folder (PEFT) or a ``.safetensors`` file.
    """

    preset: Preset
    directory: Path
    vae: Path
    controlnets: Mapping[Kind, Path] = dataclasses.field(default_factory=dict)
    loras: Mapping[str, Path] = dataclasses.field(default_factory=dict)
