"""The model under test: pictures by the pipeline that runs live, on plain PyTorch, or by a teacher's many steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipelines.condition import Conditioner, Drawer
from pipelines.conditioners import make_conditioners
from pipelines.errors import TrainingError
from pipelines.presets import Preset
from pipelines.sdxs import SDXSPipeline
from pipelines.settings import Kind, Settings
from pipelines.training.evaluation.edges import HIGH, LOW
from pipelines.training.evaluation.many_steps import ManySteps

Picture = NDArray[np.uint8]
_BATCH = 8
#: The camera's colours go to the model at a quarter of its sides, as in the live path.
_COLOUR_SHRINK = 4


class Brush(Protocol):
    """A batch of maps and settings to pictures, as ``SDXSPipeline`` is called."""

    name: str
    size: tuple[int, int]
    device: torch.device
    controls: tuple[Kind, ...]
    preset: Preset

    def __call__(
        self, condition_maps: Tensor, settings: Sequence[Settings], *, colours: Tensor | None = None
    ) -> Tensor:
        """Maps B×K×3×H×W in [0, 1] and colours uint8 B×H/4×W/4×3 to B×3×H×W in [0, 1]."""


class Painter:
    """Paints at the model's own size, as ``Settings`` say. ``painted`` is called after each batch with its length."""

    def __init__(
        self,
        model: str | Path,
        *,
        device: str = "auto",
        controlnets: Sequence[str] = (),
        steps: int = 1,
        guidance: float = 1.0,
        painted: Callable[[int], None] = lambda count: None,
    ) -> None:
        """In one of ``steps`` the live pipeline paints, in more ``ManySteps`` with that ``guidance``.

        Raises what ``SDXSPipeline.from_pretrained`` does.
        """
        self._brush: Brush
        if steps > 1:
            self._brush = ManySteps(model, steps=steps, guidance=guidance, device=device, controlnets=controlnets)
        elif guidance != 1:
            raise TrainingError("One step has no guidance: it goes with --steps above 1.")
        else:
            self._brush = SDXSPipeline.from_pretrained(model, backend="eager", device=device, controlnets=controlnets)
        self._painted = painted
        self.device = self._brush.device
        self.size: tuple[int, int] = self._brush.size
        self.name = self._brush.name
        self.controls: Sequence[Kind] = self._brush.controls
        self.styles = [(each.name, each.prompt) for each in self._brush.preset.styles]
        self.prompt = self._brush.preset.defaults.prompt
        self.init_strength = self._brush.preset.defaults.init_strength
        self._conditioners = make_conditioners(self.controls, device=self.device)

    def settings(
        self, prompt: str, *, seed: int, control: str, strength: float, init_strength: float = 0.0
    ) -> Settings:
        """Canny at the thresholds of the edge skill. Raises TrainingError for a control that the model has not."""
        if control != "none":
            self.conditioner(control)
        return Settings(prompt=prompt[:500], seed=seed).replace(
            control=control,
            conditioning_scale=strength,
            init_strength=init_strength,
            canny_low=LOW,
            canny_high=HIGH,
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
            shown = [_fitted(each, self.size) for each in pictures[start : start + _BATCH]]
            maps = [self._map(picture, each, drawer) for picture, each in zip(shown, some, strict=True)]
            colours = self._colours(shown, some)
            out = self._brush(torch.stack(maps), some, colours=colours).float().cpu()
            found += [np.rint(each.permute(1, 2, 0).numpy() * 255).clip(0, 255).astype(np.uint8) for each in out]
            self._painted(len(some))
        return found

    def _map(self, picture: Picture | None, settings: Settings, drawer: Drawer | None) -> Tensor:
        """K×3×H×W in [0, 1], as drawn."""
        height, width = self.size
        if drawer is None:
            return torch.zeros(0, 3, height, width)
        if picture is None:
            raise TrainingError(f"Painting with {settings.control} needs pictures; the data have prompts alone.")
        drawn = drawer(picture, settings).map
        return torch.from_numpy(drawn).float().div(255).expand(1, 3, height, width)

    def _colours(self, pictures: Sequence[Picture | None], settings: Sequence[Settings]) -> Tensor | None:
        """uint8 B×H/4×W/4×3, shrunk by area; None where nobody asks for them."""
        if not any(each.init_strength for each in settings):
            return None
        height, width = (side // _COLOUR_SHRINK for side in self.size)
        there = [picture for picture in pictures if picture is not None]
        if len(there) < len(pictures):
            raise TrainingError("An init_strength needs pictures to take the colours of; the data have prompts alone.")
        small = [cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA) for picture in there]
        return torch.from_numpy(np.stack(small))


def _fitted(picture: Picture | None, size: tuple[int, int]) -> Picture | None:
    return picture if picture is None else fit(picture, size)


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
