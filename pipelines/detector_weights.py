"""The published weights of the detectors: where they lie, and reading them without running what a pickle says."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch

from pipelines.errors import CheckpointError
from pipelines.hub import Hub, repository_folder

REPOSITORY = "lllyasviel/Annotators"


def find_weights(file: str) -> Path:
    """The file in ``models_folder()/lllyasviel/Annotators``, fetched if it isn't there. Raises DownloadError."""
    part = _Annotator(folder=repository_folder(REPOSITORY), file=file)
    Hub().fetch([(part, [file])])
    return part.folder / file


def has_file(file: str) -> bool:
    """Whether it is there without being fetched."""
    return _Annotator(folder=repository_folder(REPOSITORY), file=file).is_here()


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Annotator:
    """A ``pipelines.parts.Part`` of one file, pickled as all of these are: ``read_state`` takes nothing but tensors."""

    folder: Path
    file: str
    repo: str = REPOSITORY

    @property
    def wanted(self) -> str:
        return self.file

    def is_here(self) -> bool:
        return (self.folder / self.file).is_file()

    def configs(self, offered: Collection[str]) -> list[str]:
        return []

    def weights(self, offered: Collection[str], *, half: bool) -> list[str]:
        return [self.file]


def read_state(path: Path, key: str | None = None) -> Mapping[str, torch.Tensor]:
    """The tensors of a ``.pt`` or ``.pth`` file by name, those under ``key`` if they lie deeper, on the CPU.

    Nothing but tensors and plain values is unpickled. Raises CheckpointError naming the file.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        reason = str(error).split("\n", 1)[0]
        raise CheckpointError(f"{path} can't be read as weights ({reason}); fetch the file again.") from None
    state = content.get(key) if key and isinstance(content, dict) else content
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise CheckpointError(f"{path} holds no tensors{f' under {key!r}' if key else ''}; fetch the file again.")
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}


def fill(network: Any, state: Mapping[str, torch.Tensor], path: Path) -> None:
    """Load ``state`` into ``network``. Raises CheckpointError, naming the file, when a tensor is missing or unfit."""
    try:
        # Never strict: what a file holds on top (older versions kept indices in it) does no harm, what it lacks does.
        missing = network.load_state_dict(state, strict=False).missing_keys
    except RuntimeError as error:
        reason = str(error).strip().split("\n")[-1].strip()
        raise CheckpointError(f"{path} doesn't fit {type(network).__name__}: {reason}") from None
    if missing:
        raise CheckpointError(
            f"{path} doesn't fit {type(network).__name__}: {len(missing)} tensors ({missing[0]}, ...) are missing."
        )
