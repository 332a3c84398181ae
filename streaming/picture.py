"""One picture from the bytes of a file, whoever sent them."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from streaming.errors import BadRequest

#: What Pillow raises for broken files, by its plugins. Its own bound (179 megapixels) is one of them.
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)


def decode_picture(
    data: bytes, *, formats: Sequence[str] | None = None, max_pixels: int | None = None
) -> NDArray[np.uint8]:
    """uint8 H×W×3 RGB, turned as its EXIF says, what is transparent in it on white; of an animation the first picture.

    ``formats``: Pillow's names of those that are taken, all if left out. ``max_pixels``: a file of a few kilobytes can
    claim to be gigapixels. It may take long, so keep it off the event loop. Raises BadRequest with one sentence.
    """
    try:
        picture = Image.open(io.BytesIO(data), formats=list(formats) if formats else None)
        width, height = picture.size
        if max_pixels is not None and width * height > max_pixels:
            raise BadRequest(
                f"The picture has {width}×{height} pixels; at most {max_pixels / 1e6:.0f} million are taken."
            )
        return _rgb_on_white(ImageOps.exif_transpose(picture))
    except _BROKEN:
        wanted = " or ".join(formats or ["PNG, JPEG", "WebP"])
        raise BadRequest(f"This is no {wanted} picture that can be read; perhaps it was cut short.") from None


def _rgb_on_white(picture: Image.Image) -> NDArray[np.uint8]:
    if picture.mode.startswith("I;16"):  # Pillow would cut off what is over 255
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if picture.has_transparency_data:
        paper = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(paper, picture.convert("RGBA"))
    return np.array(picture.convert("RGB"), dtype=np.uint8)
