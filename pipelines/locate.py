"""From a model's name to its files on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipelines.files import ModelFiles
from pipelines.presets import find_model, read_preset


def locate(
    name_or_directory: str | Path,
    *,
    controlnets: Sequence[str] = (),
    loras: Sequence[str] = (),
    vae: str | None = None,
) -> ModelFiles:
    """The files of a preset, a directory or a repository, fetched if they are not here.

    ``controlnets`` and ``loras``: ``NAME=REPO_OR_PATH`` (NAME is a kind, or what ``Settings.lora`` will call it) on top
    of the preset's own. ``vae``: another decoder, a folder name of the model or a path. Raises CheckpointError,
    MisfitError or DownloadError.
    """
    directory = find_model(name_or_directory)
    preset = read_preset(directory)
    return ModelFiles(
        preset=preset,
        directory=directory,
        vae=directory / (vae or "vae"),
        controlnets={c.kind: directory / c.folder for c in preset.controls if (directory / c.folder).is_dir()},
    )
