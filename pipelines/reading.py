"""Reading the small files of a model directory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipelines.errors import CheckpointError


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file. Raises CheckpointError naming the file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing; a model directory needs it (the diffusers layout).") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} can't be read as JSON ({error}); fetch the file again.") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds no JSON object; fetch the file again.")
    return content
