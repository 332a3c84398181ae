"""One picture: reading it, painting it, writing it, as ``sdxs-live image`` does."""

from __future__ import annotations

import contextlib
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.settings import Settings
from realtime.errors import BadInput, Failure
from realtime.fit import fit, fit_whole
from realtime.maps import MapDesk
from realtime.model import Model
from realtime.modes import text_alone
from realtime.prepare import Preparer
from streaming.errors import BadRequest
from streaming.frame import Frame
from streaming.picture import decode_picture

Picture = NDArray[np.uint8]


def paint_still(source: Picture | None, model: Model, settings: Settings) -> Picture:
    """Paint uint8 H×W×3 RGB at the model's size; None paints from text alone.

    Of a photograph the middle is painted, of a drawing (``sketch_detector`` ``drawn``) the whole, on white paper.
    """
    settings = text_alone(settings) if source is None else settings
    picture = np.zeros((1, 1, 3), np.uint8) if source is None else source
    is_drawing = "sketch" in settings.kinds and settings.sketch_detector == "drawn"
    album = model.album if source is None else None
    with contextlib.closing(MapDesk(model.conditioners, device=model.painter.device, wait=True)) as desk:
        prepare = Preparer(
            size=model.painter.size, keeper=desk.keeper(), fit=fit_whole if is_drawing else fit, album=album
        )
        with contextlib.closing(prepare):
            prepared = prepare(Frame(image=picture, seq=0, pts=0), settings)
    maps = _on_device(prepared.planes, model)
    colours = None if prepared.colours is None else _on_device(prepared.colours, model)
    return np.asarray(model.painter.paint_uint8(maps, [prepared.settings], colours=colours)[0].cpu(), dtype=np.uint8)


def _on_device(array: Picture, model: Model) -> torch.Tensor:
    """As a batch of one."""
    return torch.from_numpy(array)[None].to(model.painter.device)


def read_picture(path: Path) -> Picture:
    """uint8 H×W×3 RGB, the right way up, what is transparent in it on white. Raises BadInput."""
    try:
        return decode_picture(path.read_bytes())
    except OSError as error:
        raise BadInput(f"{path} can't be read: {error.strerror}.") from None
    except BadRequest:
        raise BadInput(f"{path} is no picture that can be read; give a PNG, JPEG or WebP.") from None


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
