"""Sketches of camera pictures, and drawings taken as they are: black strokes on white."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.condition import ConditionMap
from pipelines.detectors import Detectors, standard_lineart
from pipelines.grid import pad_to_grid
from pipelines.settings import Kind, Settings

_NETWORKS = frozenset({"lineart", "pidinet", "hed"})

#: The width of lineart_standard's blur, as a part of the picture's short side: what the detector takes at its own 512.
_SIGMA = 6 / 512

#: Levels of a drawing that become black and white; what lies between is stretched, so that strokes keep smooth borders.
_INK, _PAPER = 64, 192
_CLEAN = ((np.arange(256) - _INK) * (255 / (_PAPER - _INK))).clip(0, 255).round().astype(np.uint8)


class SketchConditioner:
    """Conditioner and its own drawer for ``sketch``; reads ``sketch_detector`` of the settings.

    ``lineart_standard`` needs no weights; ``lineart``, ``pidinet`` and ``hed`` load theirs when they are first asked
    for (``pipelines.detector_weights``); ``drawn`` takes the picture itself for a drawing.
    """

    kind: Kind = "sketch"

    def __init__(self, *, device: torch.device) -> None:
        self._detectors = Detectors(device)

    def is_slow(self, settings: Settings) -> bool:
        return settings.sketch_detector in _NETWORKS

    def drawer(self) -> SketchConditioner:
        return self

    def warm_up(self, size: tuple[int, int], settings: Settings) -> None:
        self(np.zeros((*size, 3), np.uint8), settings)

    def __call__(self, image: NDArray[np.uint8], settings: Settings) -> ConditionMap:
        """``image``: uint8 H×W×3 RGB. Returns a map of the same H×W.

        Raises DownloadError or CheckpointError when a detector's weights can't be had.
        """
        strokes = clean(image) if settings.sketch_detector == "drawn" else self._detect(image, settings.sketch_detector)
        return ConditionMap(map=strokes, kind=self.kind)

    @torch.inference_mode()
    def _detect(self, image: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
        height, width = image.shape[:2]
        padded = pad_to_grid(image)
        side = min(padded.shape[:2])
        if name in _NETWORKS:
            lines = self._detectors[name](padded, detect_resolution=side, image_resolution=side, output_type="np")
        else:
            sigma = max(1.0, _SIGMA * min(height, width))
            with np.errstate(invalid="ignore"):  # the median of nothing, see standard_lineart
                lines = standard_lineart()(padded, guassian_sigma=sigma, detect_resolution=side, output_type="np")
        return 255 - lines[:height, :width, 0]  # they draw white on black


def clean(drawing: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 H×W×3 to uint8 H×W, black strokes on white, whatever a codec has done to it.

    A stroke of any colour is ink: the darkest channel counts. Levels up to 64 become black and from 192 on white, which
    is further than the ripples reach that JPEG or a video codec leaves around strokes.
    """
    red, green, blue = cv2.split(drawing)
    return np.asarray(cv2.LUT(cv2.min(cv2.min(red, green), blue), _CLEAN), np.uint8)
