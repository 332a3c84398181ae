"""The model under test: pictures by the very pipeline that runs live, on plain PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.condition import Conditioner, Drawer
from pipelines.conditioners import make_conditioners
from pipelines.errors import TrainingError
from pipelines.sdxs import SDXSPipeline
from pipelines.settings import Kind, Settings
from pipelines.training.evaluation.edges import HIGH, LOW

Picture = NDArray[np.uint8]
_BATCH = 8


class Painter:
    """Paints at the model's own size, as ``Settings`` say. ``painted`` is called after each batch with its length."""

    def __init__(
        self,
        model: str | Path,
        *,
        device: str = "auto",
        controlnets: Sequence[str] = (),
        painted: Callable[[int], None] = lambda count: None,
    ) -> None:
        """Raises what ``SDXSPipeline.from_pretrained`` does."""
        self._pipeline = SDXSPipeline.from_pretrained(model, backend="eager", device=device, controlnets=controlnets)
        self._painted = painted
        self.device = self._pipeline.device
        self.size: tuple[int, int] = self._pipeline.size
        self.name = self._pipeline.name
        self.controls: Sequence[Kind] = self._pipeline.controls
        self.styles = [(each.name, each.prompt) for each in self._pipeline.preset.styles]
        self.prompt = self._pipeline.preset.defaults.prompt
        self._conditioners = make_conditioners(self.controls, device=self.device)

    def settings(self, prompt: str, *, seed: int, control: str, strength: float) -> Settings:
        """Canny at the thresholds of the edge skill. Raises TrainingError for a control that the model has not."""
        if control != "none":
            self.conditioner(control)
        return Settings(prompt=prompt[:500], seed=seed).replace(
            control=control, conditioning_scale=strength, canny_low=LOW, canny_high=HIGH
        )

    def conditioner(self, kind: str) -> Conditioner:
        """What draws that kind of maps. Raises TrainingError for a control that the model has not."""
        if kind not in self._conditioners:
            raise TrainingError(f"{self.name} has no control {kind!r}; add --controlnet {kind}=REPO.")
        return self._conditioners[kind]

    def paint(self, pictures: Sequence[Picture | None], settings: Sequence[Settings]) -> list[Picture]:
        """uint8 H×W×3 RGB of the model's size; a picture for each setting, None for one painted from text alone.

        All settings have the same control. The maps are drawn in turn by one drawer, as those of a clip.
        """
        drawer = self.conditioner(settings[0].kinds[0]).drawer() if settings and settings[0].kinds else None
        found: list[Picture] = []
        for start in range(0, len(settings), _BATCH):
            some = settings[start : start + _BATCH]
            shown = pictures[start : start + _BATCH]
            maps = [self._map(picture, each, drawer) for picture, each in zip(shown, some, strict=True)]
            out = self._pipeline(torch.stack(maps), some).float().cpu()
            found += [np.rint(each.permute(1, 2, 0).numpy() * 255).clip(0, 255).astype(np.uint8) for each in out]
            self._painted(len(some))
        return found

    def _map(self, picture: Picture | None, settings: Settings, drawer: Drawer | None) -> torch.Tensor:
        """K×3×H×W in [0, 1], as drawn."""
        height, width = self.size
        if drawer is None:
            return torch.zeros(0, 3, height, width)
        if picture is None:
            raise TrainingError(f"Painting with {settings.control} needs pictures; the data have prompts alone.")
        drawn = drawer(fit(picture, self.size), settings).map
        return torch.from_numpy(drawn).float().div(255).expand(1, 3, height, width)


def fit(picture: Picture, size: tuple[int, int]) -> Picture:
    """The middle of a picture in the shape of ``size`` (height, width), resized to it."""
    if picture.shape[:2] == size:
        return picture
    scale = min(side / wanted for side, wanted in zip(picture.shape[:2], size, strict=True))
    height, width = (min(side, round(scale * wanted)) for side, wanted in zip(picture.shape[:2], size, strict=True))
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    cut = picture[top : top + height, left : left + width]
    way = cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(cut, size[::-1], interpolation=way), np.uint8)
