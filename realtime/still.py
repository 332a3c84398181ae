"""One picture: reading it, painting it, writing it, as ``sdxs-live image`` does."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.settings import Settings
from realtime.errors import BadInput, Failure
from realtime.fit import fit
from realtime.model import Model

Picture = NDArray[np.uint8]


def paint_still(
    source: Picture | None, model: Model, settings: Settings, size: tuple[int, int] | None = None
) -> Picture:
    """Paint uint8 H×W×3 RGB at ``size`` (height, width; the model's own if left out); None paints from text alone.

    Text alone is a blank map that the ControlNet may not act on. Raises ``pipelines.errors.PipelineError`` for a size
    that the model can't paint.
    """
    size = size or model.painter.size
    if source is None:
        settings = settings.replace(conditioning_scale=0.0)
        condition: Picture = np.zeros(size, np.uint8)
    else:
        condition = model.conditioner(fit(source, size), settings).map
    maps = torch.from_numpy(condition)[None].to(model.painter.device)
    return np.asarray(model.painter.paint_uint8(maps, [settings])[0].cpu(), dtype=np.uint8)


def read_picture(path: Path) -> Picture:
    """uint8 H×W×3 RGB. Raises BadInput."""
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise BadInput(f"{path} can't be read: {error.strerror}.") from None
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if decoded is None:
        raise BadInput(f"{path} is no picture that can be read; give a PNG, JPEG or WebP.")
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def check_target(path: Path) -> None:
    """Before anything slow. Raises BadInput when no picture can be written under that name."""
    if not path.parent.is_dir():
        raise BadInput(f"There is no folder {path.parent}; make it first.")
    if not path.suffix or not cv2.haveImageWriter(path.name):
        raise BadInput(f"{path.name} names no picture format; end it in .png, .jpg or .webp.")


def write_picture(path: Path, picture: Picture) -> None:
    """Write uint8 H×W×3 RGB in the format of the name. Raises Failure."""
    done, data = cv2.imencode(path.suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    try:
        if not done:
            raise OSError(0, "the encoder refused it")
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise Failure(f"{path} can't be written: {error.strerror}.") from None


def parse_size(text: str) -> tuple[int, int]:
    """``512`` or ``WIDTHxHEIGHT`` to (height, width). Raises BadInput."""
    match = re.fullmatch(r"(\d{1,5})(?:[x×](\d{1,5}))?", text)
    if not match:
        raise BadInput(f"--size {text!r} is no size; give 512 or 640x384 (width x height).")
    width, height = int(match[1]), int(match[2] or match[1])
    if not 32 <= min(width, height) <= max(width, height) <= 4096:
        raise BadInput(f"--size {text!r} is out of range; sides go from 32 to 4096 pixels.")
    return height, width
