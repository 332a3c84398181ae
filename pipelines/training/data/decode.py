"""From a picture file's bytes to a training picture, or a reason why not."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})

#: A picture whose side is shorter than this part of the wanted one would be mostly invented.
SMALLEST = 0.5


class Unusable(Exception):
    """A picture or caption can't be trained on; the message goes after a file's name: ``cat.jpg is cut short``."""


def check(file: Path | io.BytesIO, size: tuple[int, int]) -> None:
    """Look at the header alone. Raises Unusable."""
    with _opened(file) as picture:
        _check_size(picture, size)


def decode(file: Path | io.BytesIO, size: tuple[int, int]) -> NDArray[np.uint8]:
    """uint8 H×W×3 RGB: turned as its camera was, on white where transparent, scaled to cover ``size``, middle cut out.

    Raises Unusable.
    """
    with _opened(file) as picture:
        _check_size(picture, size)
        try:
            upright = ImageOps.exif_transpose(picture)
            if "transparency" in upright.info or upright.mode in {"RGBA", "LA", "PA"}:
                layer = upright.convert("RGBA")
                upright = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
            height, width = size
            fitted = ImageOps.fit(upright.convert("RGB"), (width, height), Image.Resampling.LANCZOS)
        except Exception as error:  # decoders raise whatever broken bytes lead them to
            raise Unusable(f"can't be decoded ({error})") from None
    return np.asarray(fitted, np.uint8)


def _opened(file: Path | io.BytesIO) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return Image.open(file)
    except Image.DecompressionBombWarning:
        raise Unusable(f"has more than {Image.MAX_IMAGE_PIXELS:,} pixels") from None
    except Exception:  # decoders raise many kinds for a broken file
        raise Unusable("is no picture that can be read") from None


def _check_size(picture: Image.Image, size: tuple[int, int]) -> None:
    width, height = picture.size
    if min(width, height) < SMALLEST * min(size):
        raise Unusable(f"is {width}×{height} pixels, too small for {size[1]}×{size[0]}")
