"""Depth maps by controlnet-aux's MiDaS, ZoeDepth or LeReS, and maps taken as they are: near is white."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.condition import ConditionMap
from pipelines.depth_range import DepthRange, SceneWatch
from pipelines.detectors import Detectors
from pipelines.errors import PipelineError
from pipelines.grid import CELL
from pipelines.settings import DepthEstimator, Kind, Settings

#: The networks see the picture with its short side at most this long, as controlnet-aux's detectors do by default.
LARGEST = 512

#: Percentiles of nearness that become black and white. Zoe's are those of controlnet-aux's detector; there the others
#: take the very extremes, which single pixels move from frame to frame.
PERCENTILES: dict[DepthEstimator, tuple[float, float]] = {"midas": (1, 99), "zoe": (15, 98), "leres": (1, 99)}


class DepthConditioner:
    """Conditioner for ``depth``; reads ``depth_estimator`` and ``depth_smoothing`` of the settings.

    Weights are loaded when an estimator is first asked for: see ``pipelines.detector_weights``. ``given`` needs none:
    the picture itself is the map, of a depth camera or a renderer.
    """

    kind: Kind = "depth"

    def __init__(self, *, device: torch.device) -> None:
        self._device = device
        self._detectors = Detectors(device)

    def is_slow(self, settings: Settings) -> bool:
        return settings.depth_estimator != "given"

    def drawer(self) -> DepthDrawer:
        return DepthDrawer(self)

    def warm_up(self, size: tuple[int, int], settings: Settings) -> None:
        if settings.depth_estimator != "given":
            self.nearness(np.zeros((*size, 3), np.uint8), settings.depth_estimator)

    @torch.inference_mode()
    def nearness(self, image: NDArray[np.uint8], estimator: DepthEstimator) -> NDArray[np.float32]:
        """What the network itself says of uint8 H×W×3 RGB, before any normalisation: the larger the nearer.

        float32 at a size of the network's choice: sides are multiples of 64, the short one at most 512. MiDaS gives
        inverse depth, ZoeDepth metres and LeReS depth without a unit; the latter two are negated.
        Raises DownloadError or CheckpointError when its weights can't be had.
        """
        model = self._detectors[estimator].model
        picture = _resize(image)
        if estimator == "midas":
            return _to_host(model(self._tensor(picture) / 127.5 - 1)[0])
        if estimator == "zoe":
            return -_to_host(model.infer(self._tensor(picture) / 255)[0, 0])
        # Not as LeresDetector does: it hands over 0..255 in the wrong order of colours to a network in training mode,
        # whose batch norms then hide that. This is what LeReS's authors and this function's own author do.
        from controlnet_aux.leres import estimateleres

        return -np.asarray(
            estimateleres(picture[:, :, ::-1] / np.float32(255), model, *picture.shape[1::-1]), np.float32
        )

    def _tensor(self, picture: NDArray[np.uint8]) -> torch.Tensor:
        """uint8 H×W×3 to float32 1×3×H×W on the device."""
        return torch.from_numpy(picture).to(self._device).permute(2, 0, 1)[None].float()


class DepthDrawer:
    """Draws the depth maps of one stream. Its range of depths follows the stream's (``DepthRange``)."""

    def __init__(self, conditioner: DepthConditioner) -> None:
        self._conditioner = conditioner
        self._estimator: DepthEstimator | None = None

    def __call__(self, image: NDArray[np.uint8], settings: Settings) -> ConditionMap:
        """``image``: uint8 H×W×3 RGB. Returns a map of the same H×W, near white."""
        if settings.depth_estimator == "given":
            return ConditionMap(map=np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8), kind="depth")
        height, width = image.shape[:2]
        near = self._conditioner.nearness(image, settings.depth_estimator)
        low, high = self._follow(near, image, settings)
        grey = ((near - low) * (255 / max(high - low, 1e-12))).clip(0, 255)
        fitted = cv2.resize(grey, (width, height), interpolation=cv2.INTER_LINEAR)
        return ConditionMap(map=np.rint(fitted).astype(np.uint8), kind="depth")

    def _follow(self, near: NDArray[np.float32], image: NDArray[np.uint8], settings: Settings) -> tuple[float, float]:
        low, high = (float(value) for value in np.percentile(near, PERCENTILES[settings.depth_estimator]))
        if not np.isfinite([low, high]).all():
            raise PipelineError(
                f"{settings.depth_estimator} gave no depth for this picture: not all of it is a number."
            )
        if settings.depth_estimator != self._estimator:  # another network's scale has nothing to do with the last one's
            self._estimator, self._range, self._scene = settings.depth_estimator, DepthRange(), SceneWatch()
        return self._range.follow(low, high, smoothing=settings.depth_smoothing, cut=self._scene.is_cut(image))


def _resize(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """To the nearest multiples of 64, in the interpolations that controlnet-aux takes."""
    height, width = image.shape[:2]
    scale = min(1.0, LARGEST / min(height, width))
    rows, columns = (max(CELL, round(side * scale / CELL) * CELL) for side in (height, width))
    interpolation = cv2.INTER_LANCZOS4 if rows * columns > height * width else cv2.INTER_AREA
    return np.asarray(cv2.resize(image, (columns, rows), interpolation=interpolation), np.uint8)


def _to_host(depth: torch.Tensor) -> NDArray[np.float32]:
    """Wait for this stream's work alone; the thread sleeps meanwhile, and leaves its core to others."""
    if depth.is_cuda:
        computed = torch.cuda.Event(blocking=True)
        computed.record(torch.cuda.current_stream(depth.device))
        computed.synchronize()
    return depth.float().cpu().numpy()
