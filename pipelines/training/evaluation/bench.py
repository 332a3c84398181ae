"""What the metrics share: the pictures and prompts that were asked for, and what of them was painted already."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import TrainingError
from pipelines.settings import Settings
from pipelines.training.data.dataset import Dataset, open_data
from pipelines.training.evaluation import temporal
from pipelines.training.evaluation.edges import HELD_OUT, held_out_photographs
from pipelines.training.evaluation.features import Extractor, Features, open_extractor
from pipelines.training.evaluation.film import read_film
from pipelines.training.evaluation.painter import Painter, fit
from pipelines.training.evaluation.shapes import ShapesJudge, open_judge

Picture = NDArray[np.uint8]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wanted:
    """``data``: as ``--data`` of training, empty for scikit-image's photographs. ``count``: pictures a metric at most,
    or frames of a clip. ``prompts``: instead of the model's styles; ``styles``: some of those by name, ``all`` of them,
    or empty for what suits the metric. ``control``: empty for what suits the metric. ``seeds``: how many are compared.
    ``steadiness``: of clips, if not the live path's own. ``features``, ``clip_model``, ``video``: where those are.
    ``cache``: a folder for what can be kept, if any.
    """

    data: str = ""
    count: int = 64
    prompts: Sequence[str] = ()
    styles: str = ""
    control: str = ""
    strength: float = 0.8
    init_strength: float = 0.0
    seed: int = 0
    seeds: int = 4
    steadiness: float | None = None
    features: str = ""
    clip_model: str = ""
    video: str = ""
    cache: Path | None = None


class Bench:
    """One model and what is wanted of it. ``judge``: another model, whose pictures teach the judge of styles."""

    def __init__(self, painter: Painter, wanted: Wanted, judge: Painter | None = None) -> None:
        self.painter, self.wanted, self.judge = painter, wanted, judge or painter
        self._by_style: dict[str, dict[str, list[Picture]]] = {}

    @cached_property
    def data(self) -> tuple[Dataset, Sequence[int]]:
        """Held-out samples, and for a greater count those trained on, after them."""
        trained, held_out = open_data(self.wanted.data, self.painter.size)
        data = held_out if len(held_out) >= self.wanted.count else trained
        return data, range(min(self.wanted.count, len(data)))

    @cached_property
    def prompts(self) -> list[str]:
        """A prompt a picture, for the metrics that take each once."""
        if self.wanted.prompts or not self.wanted.data:
            prompts = self.wanted.prompts or [prompt for _, prompt in self.painter.styles] or [self.painter.prompt]
            return [prompts[place % len(prompts)] for place in range(self.wanted.count)]
        data, places = self.data
        return [data.prompts[place] for place in places]

    @cached_property
    def pictures(self) -> list[Picture]:
        """Of the data at most ``count``, or the photographs."""
        if self.wanted.data:
            data, places = self.data
            return [data.picture(place) for place in places]
        photographs = held_out_photographs(HELD_OUT[: self.wanted.count], max(self.painter.size))
        return [fit(each, self.painter.size) for each in photographs.values()]

    @cached_property
    def painted(self) -> list[Picture]:
        """A picture for each prompt: from text alone unless a control was asked for."""
        control = self.wanted.control or "none"
        shown: list[Picture | None] = [None] * len(self.prompts)
        if control != "none" or self.wanted.init_strength:
            shown = [self.pictures[place % len(self.pictures)] for place in range(len(shown))]
        return self.painter.paint(shown, self.settings(self.prompts, control))

    @cached_property
    def shapes_judge(self) -> ShapesJudge:
        return open_judge(self.wanted.cache)

    @cached_property
    def extractor(self) -> Extractor:
        """Of FID's and KID's features. Raises TrainingError where its weights are not here."""
        if self.wanted.data == "shapes" and not self.wanted.features:
            return self.shapes_judge
        return open_extractor(self.wanted.features, device=self.painter.device)

    @cached_property
    def features(self) -> tuple[Features, Features]:
        """Of the data and of what was painted. Raises TrainingError where there are no data."""
        if not self.wanted.data:
            raise TrainingError("FID and KID compare with data: name some with --data.")
        extractor = self.extractor  # before anything is painted: it may lack its weights
        return extractor(self.pictures), extractor(self.painted)

    @property
    def control(self) -> str:
        """What was asked for, or canny where the model has it, or its first."""
        controls = self.painter.controls
        return self.wanted.control or ("canny" if "canny" in controls or not controls else controls[0])

    def by_style(self, control: str) -> dict[str, list[Picture]]:
        """All pictures painted in each style, by its name; with data, of their own prompts. Painted once."""
        if control not in self._by_style:
            self._by_style[control] = {
                label: self.painter.paint(self.pictures, self.settings(prompts, control))
                for label, prompts in self.styles(len(self.pictures))
            }
        return self._by_style[control]

    def named_styles(self) -> dict[str, str]:
        """Prompts by name, of those that pictures can be compared in. Raises TrainingError where there are none."""
        if self.wanted.data and not self.wanted.prompts and not self.painter.styles:
            raise TrainingError(f"{self.painter.name} names no styles: give some with --prompt or --styles-of MODEL.")
        if self.wanted.prompts:
            return {prompt: prompt for prompt in self.wanted.prompts}
        return dict(self._chosen())

    def styles(self, count: int) -> list[tuple[str, list[str]]]:
        """Label and prompts of ``count`` pictures: the data's own, those asked for, or each of the model's styles."""
        if self.wanted.prompts:
            return [(prompt, [prompt] * count) for prompt in self.wanted.prompts]
        if self.wanted.data:
            return [(f"{len(self.prompts)} pictures of {self.wanted.data}", self.prompts[:count])]
        return [(name, [prompt] * count) for name, prompt in self._chosen()]

    def settings(self, prompts: Sequence[str], control: str, **changes: float) -> list[Settings]:
        """One seed each, counting up. ``changes``: of ``strength``, ``init_strength`` and the first ``seed``."""
        first = int(changes.get("seed", self.wanted.seed))
        return [
            self.painter.settings(
                prompt,
                seed=first + place,
                control=control,
                strength=changes.get("strength", self.wanted.strength),
                init_strength=changes.get("init_strength", self.wanted.init_strength),
            )
            for place, prompt in enumerate(prompts)
        ]

    def clips(self) -> list[tuple[str, list[Picture]]]:
        """The film, or a camera that stands still and one that pans."""
        size, frames = self.painter.size, min(self.wanted.count, 8)
        if self.wanted.video:
            film = read_film(self.wanted.video, frames=self.wanted.count)
            return [(Path(self.wanted.video).name, [fit(each, size) for each in film])]
        (photograph,) = held_out_photographs(HELD_OUT[:1], -(-max(size) * 8 // 7)).values()
        clips = {"still": temporal.still(photograph, frames=frames), "pan": temporal.pan(photograph, frames=frames)}
        return [(name, [fit(each, size) for each in clip]) for name, clip in clips.items()]

    def _chosen(self) -> list[tuple[str, str]]:
        known = self.painter.styles or [("its default prompt", self.painter.prompt)]
        if self.wanted.styles in ("", "all"):
            return known
        asked = [name.strip().lower() for name in self.wanted.styles.split(",")]
        found = [(name, prompt) for name, prompt in known if name.lower() in asked]
        if len(found) < len(asked):
            names = ", ".join(name for name, _ in known)
            raise TrainingError(f"--styles {self.wanted.styles} are not all among this model's: {names}.")
        return found
