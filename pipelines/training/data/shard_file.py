"""Shards of tensors on disk, mapped and not read."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open


def length(file: Path) -> int:
    """How many samples a shard holds: none where it is not there or broken."""
    try:
        with safe_open(str(file), framework="pt") as found:
            return int(found.get_slice("latents").get_shape()[0])
    except (OSError, SafetensorError):
        return 0


@lru_cache(maxsize=1024)
def opened(file: Path) -> Any:
    """The file, kept open."""
    return safe_open(str(file), framework="pt")
