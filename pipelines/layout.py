"""Build what a configuration describes without weights, and count its parameters."""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.metadata
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.errors import CheckpointError
from pipelines.folders import cache_folder
from pipelines.unet import Config

_CLASSES = {
    "UNet2DConditionModel": "diffusers",
    "ControlNetModel": "diffusers",
    "AutoencoderTiny": "diffusers",
    "AutoencoderKL": "diffusers",
    "AutoencoderSubpixel": "pipelines.subpixel",
    "CLIPTextModel": "transformers",
    "CLIPTextModelWithProjection": "transformers",
}


def class_name(config: Config) -> str:
    """diffusers and transformers each have their own key for it."""
    return str(config.get("_class_name") or next(iter(config.get("architectures") or ()), ""))


def build(config: Config) -> Any:
    """The module on the meta device: shapes and names, no memory. Raises CheckpointError for what can't be built."""
    import torch

    with torch.device("meta"):
        return make(config)


def make(config: Config) -> Any:
    """The module with fresh weights. Raises CheckpointError for a class that this tool doesn't run."""
    name = class_name(config)
    if name not in _CLASSES:
        raise CheckpointError(f"{name or 'That'!r} is no part of a model that this tool runs: {', '.join(_CLASSES)}.")
    if _CLASSES[name] == "transformers":
        import transformers

        given = {key: value for key, value in config.items() if key != "_class_name"}
        return getattr(transformers, name)(transformers.CLIPTextConfig(**given))
    module = importlib.import_module(_CLASSES[name])
    # diffusers writes this key of AutoencoderTiny into the file and then warns that it doesn't know it.
    unknown = {"block_out_channels"} if name == "AutoencoderTiny" else set()
    return getattr(module, name).from_config({key: value for key, value in config.items() if key not in unknown})


def parameters(config: Config) -> int:
    """How many parameters it has. Counted once; importing diffusers for it would take seconds each time."""
    return _parameters(json.dumps(dict(config), sort_keys=True, default=str))


@functools.cache
def _parameters(config: str) -> int:
    versions = "".join(importlib.metadata.version(name) for name in ("diffusers", "transformers"))
    digest = hashlib.sha256(f"{versions} {config}".encode()).hexdigest()[:32]
    file = cache_folder() / "layouts" / f"{digest}.json"
    known = _read(file)
    if known is None:
        known = sum(parameter.numel() for parameter in build(json.loads(config)).parameters())
        _write(file, {"parameters": known})
    return known


def _read(file: Path) -> int | None:
    try:
        return int(json.loads(file.read_text(encoding="utf-8"))["parameters"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(file: Path, content: Mapping[str, int]) -> None:
    """A folder that can't be written is no error: the next start counts again."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content), encoding="utf-8")
    except OSError:
        return
