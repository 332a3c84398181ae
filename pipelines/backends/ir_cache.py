"""Converted OpenVINO models kept between starts: converting takes seconds, reading the result takes a moment.

A file is named by everything that decides its content, so a stale one is never read; broken ones are made anew.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from pipelines.folders import cache_folder

_DECIDING = ("openvino", "torch", "diffusers", "sdxs-live")


def converted(
    module: nn.Module, name: str, core: Any, convert: Callable[[], Any], save: Callable[[Any, Path], None]
) -> Any:
    """The model of ``module`` from the cache, or converted now and kept. A folder that can't be written is no error."""
    folder = cache_folder() / f"openvino-{name}-{_digest(module)}"
    try:
        return core.read_model(folder / "graph.xml")
    except RuntimeError:  # not there, or cut off by a full disk
        model = convert()
    _keep(model, folder, save)
    return model


def weights_digest(module: nn.Module, into: Any = None) -> str:
    """Of all weights of a module, with their names and shapes, 32 hexadecimal digits. ``into``: a digest begun."""
    digest = into or hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().data)
    return str(digest.hexdigest()[:32])


def _keep(model: Any, folder: Path, save: Callable[[Any, Path], None]) -> None:
    """Written aside and renamed, so that another process never reads half of it."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(dir=folder.parent))
    except OSError:
        return
    try:
        save(model, aside / "graph.xml")
        shutil.rmtree(folder, ignore_errors=True)
        aside.rename(folder)
    except (OSError, RuntimeError):
        shutil.rmtree(aside, ignore_errors=True)


def _digest(module: nn.Module) -> str:
    """Of the weights, the layout, the step and the versions of whatever turns them into a model."""
    digest = hashlib.sha256()
    for name in _DECIDING:
        digest.update(f"{name} {importlib.metadata.version(name)}\n".encode())
    digest.update(f"{getattr(module, 'step', None) or getattr(module, 'input_scale', None)}\n{module}\n".encode())
    return weights_digest(module, digest)
