"""Published weights that are there only as a pickle, kept here as safetensors: read once, as nothing but tensors."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from pipelines.detector_weights import read_state


def to_safetensors(path: Path, target: Path) -> None:
    """Turn the pickled ``path`` into ``target`` and remove it. What is not a tensor in it is never run.

    Broken off at any moment, it can be done again. Raises CheckpointError naming the file.
    """
    from huggingface_hub.utils import WeakFileLock

    lock = target.with_name(f".{target.name}.lock")
    with WeakFileLock(lock):
        if not target.is_file():  # another program may have been quicker
            state = read_state(path)
            aside = target.with_name(f".{target.name}.part")
            save_file({name: _own(tensor) for name, tensor in state.items()}, aside, metadata={"format": "pt"})
            aside.replace(target)
        path.unlink(missing_ok=True)
    lock.unlink(missing_ok=True)


def _own(tensor: Tensor) -> Tensor:
    """Tensors of one pickle may share memory, which safetensors doesn't have."""
    return tensor.detach().clone().contiguous()
