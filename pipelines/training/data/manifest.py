"""What a folder of samples was made of, so that none are taken for those of another model or other data."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pipelines.errors import TrainingError


def check_manifest(folder: Path, wanted: Mapping[str, Any], *, writes: bool) -> None:
    """Write it, if asked to, where there is none. Raises TrainingError where it says something else."""
    file = folder / "manifest.json"
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if writes:
            folder.mkdir(parents=True, exist_ok=True)
            partial = file.with_suffix(".part")
            partial.write_text(json.dumps(wanted, indent=2) + "\n", encoding="utf-8")
            os.replace(partial, file)
        return
    except (OSError, ValueError) as error:
        raise TrainingError(f"{file} can't be read ({error}); delete {folder} and its samples are made anew.") from None
    for name, value in wanted.items():
        if found.get(name) != value:
            raise TrainingError(
                f"The samples in {folder} were made with {name} {found.get(name)}, but now it is {value}: delete that "
                "folder to make them anew, or go on in another --out."
            )


def digest_of(modules: Iterable[Any], more: str = "") -> str:
    """Of weights and ``more``. Of large tensors 4,096 evenly spread values have a say: training changes them all."""
    digest = hashlib.sha256(more.encode())
    for module in modules:
        for name, tensor in sorted(module.state_dict().items()):
            flat = tensor.detach().flatten()
            some = flat[:: max(1, len(flat) // 4096)].float().cpu().numpy()
            digest.update(name.encode() + some.tobytes())
    return digest.hexdigest()[:16]
