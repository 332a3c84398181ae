"""What ``sdxs-live eval`` does: paints what each metric looks at, and looks at it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from pipelines.depth import DepthConditioner
from pipelines.errors import TrainingError
from pipelines.settings import Settings
from pipelines.training.data.dataset import Dataset, open_data
from pipelines.training.evaluation import clip, depth, fidelity, temporal
from pipelines.training.evaluation.edges import edge_skill, edges_of, held_out_photographs
from pipelines.training.evaluation.features import Extractor, Features, open_extractor
from pipelines.training.evaluation.film import read_film
from pipelines.training.evaluation.painter import Painter, fit
from pipelines.training.evaluation.score import Score
from pipelines.training.evaluation.shapes import ShapesJudge, obeyed_scores, open_judge

Picture = NDArray[np.uint8]
#: scikit-image's, which metrics take where no data are named: no model of this project was trained on them.
PHOTOGRAPHS = ("astronaut", "coffee", "chelsea", "rocket", "camera", "cat", "coins", "clock")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wanted:
    """``data``: as ``--data`` of training, empty for scikit-image's photographs. ``count``: pictures a metric at most,
    or frames of a clip. ``prompts``: instead of the model's styles. ``control``: empty for what suits the metric.
    ``features``, ``clip_model``, ``video``: where those are. ``cache``: a folder for what can be kept, if any."""

    data: str = ""
    count: int = 64
    prompts: Sequence[str] = ()
    control: str = ""
    strength: float = 0.8
    seed: int = 0
    features: str = ""
    clip_model: str = ""
    video: str = ""
    cache: Path | None = None


def measure(painter: Painter, metrics: Sequence[str], wanted: Wanted) -> list[Score]:
    """The ``metrics`` by name, in that order. Raises TrainingError for one that is not known or lacks something."""
    check(metrics)
    if wanted.control not in ("", "none"):
        painter.conditioner(wanted.control)
    bench = _Bench(painter, wanted)
    return [score for name in metrics for score in METRICS[name](bench)]


def check(metrics: Sequence[str]) -> None:
    """Raises TrainingError for a metric that is not known."""
    for name in metrics:
        if name not in METRICS:
            raise TrainingError(f"There is no metric {name!r}; there are {', '.join(METRICS)}.")


def usual(painter: Painter, wanted: Wanted) -> list[str]:
    """The metrics that can be had with what was named."""
    drawn = wanted.data == "shapes"
    having = {
        "edge-skill": "canny" in painter.controls,
        "fid": drawn or bool(wanted.data and wanted.features),
        "kid": drawn or bool(wanted.data and wanted.features),
        "clip": bool(wanted.clip_model),
        "depth": "depth" in painter.controls,
        "warp": bool(painter.controls),
        "shapes": drawn,
    }
    return [name for name, there in having.items() if there]


class _Bench:
    """One model's metrics; what several of them look at is painted once."""

    def __init__(self, painter: Painter, wanted: Wanted) -> None:
        self._painter, self._wanted = painter, wanted

    def edge_skill(self) -> list[Score]:
        """Of each style on the same pictures, and their mean; with data, of their own prompts."""
        pictures = {str(place): picture for place, picture in enumerate(self._pictures)}
        if len(pictures) < 2:
            raise TrainingError("The edge skill compares pictures with each other: it needs two at least.")
        given = {name: edges_of(picture) for name, picture in pictures.items()}
        found = []
        for label, prompts in self._styles(len(pictures)):
            settings = self._settings(prompts, self._wanted.control or "canny")
            painted = self._painter.paint(list(pictures.values()), settings)
            skill = edge_skill(given, dict(zip(given, painted, strict=True)))
            found.append(Score(metric="edge-skill", value=skill, better="higher", about=label))
        if len(found) > 1:
            about = f"mean of {len(found)} styles, {len(given)} pictures"
            mean = float(np.mean([score.value for score in found]))
            found.append(Score(metric="edge-skill", value=mean, better="higher", about=about))
        return found

    def fid(self) -> list[Score]:
        return [fidelity.fid_score(*self._features, extractor=self._extractor.name)]

    def kid(self) -> list[Score]:
        return [fidelity.kid_score(*self._features, extractor=self._extractor.name)]

    def clip(self) -> list[Score]:
        scorer = clip.ClipScore(self._wanted.clip_model, device=self._painter.device)
        return [clip.clip_score(scorer(self._painted, self._prompts), model=scorer.name)]

    def depth(self) -> list[Score]:
        estimator = cast(DepthConditioner, self._painter.conditioner("depth"))
        pictures = self._pictures
        ((_, prompts), *_) = self._styles(len(pictures))
        painted = self._painter.paint(pictures, self._settings(prompts, "depth"))
        given, found = ([estimator.nearness(each, "midas") for each in some] for some in (pictures, painted))
        return depth.scores(given, found, about=f"midas, {len(pictures)} pictures")

    def warp(self) -> list[Score]:
        found = []
        ((label, (prompt, *_)), *_) = self._styles(1)
        control = self._wanted.control or next(iter(self._painter.controls), "none")
        settings = self._painter.settings(
            prompt, seed=self._wanted.seed, control=control, strength=self._wanted.strength
        )
        for name, frames in self._clips():
            painted = self._painter.paint(frames, [settings] * len(frames))
            found += temporal.scores(temporal.warp_error(frames, painted), about=f"{name}, {control}, {label}")
        return found

    def shapes(self) -> list[Score]:
        shares = self._judge.obeyed(self._painted, self._prompts)
        return obeyed_scores(shares, about=f"{len(self._painted)} pictures")

    @cached_property
    def _judge(self) -> ShapesJudge:
        return open_judge(self._wanted.cache)

    @cached_property
    def _data(self) -> tuple[Dataset, Sequence[int]]:
        """Held-out samples, and for a greater count those trained on, after them."""
        trained, held_out = open_data(self._wanted.data, self._painter.size)
        data = held_out if len(held_out) >= self._wanted.count else trained
        return data, range(min(self._wanted.count, len(data)))

    @cached_property
    def _prompts(self) -> list[str]:
        if self._wanted.prompts or not self._wanted.data:
            prompts = self._wanted.prompts or [prompt for _, prompt in self._painter.styles] or [self._painter.prompt]
            return [prompts[place % len(prompts)] for place in range(self._wanted.count)]
        data, places = self._data
        return [data.prompts[place] for place in places]

    @cached_property
    def _pictures(self) -> list[Picture]:
        """Of the data at most ``count``, or the photographs."""
        if self._wanted.data:
            data, places = self._data
            return [data.picture(place) for place in places]
        photographs = held_out_photographs(PHOTOGRAPHS[: self._wanted.count], max(self._painter.size))
        return [fit(each, self._painter.size) for each in photographs.values()]

    @cached_property
    def _painted(self) -> list[Picture]:
        """A picture for each prompt: from text alone unless a control was asked for."""
        control = self._wanted.control or "none"
        shown: list[Picture | None] = [None] * len(self._prompts)
        if control != "none":
            shown = [self._pictures[place % len(self._pictures)] for place in range(len(shown))]
        return self._painter.paint(shown, self._settings(self._prompts, control))

    @cached_property
    def _extractor(self) -> Extractor:
        if self._wanted.data == "shapes" and not self._wanted.features:
            return self._judge
        return open_extractor(self._wanted.features, device=self._painter.device)

    @cached_property
    def _features(self) -> tuple[Features, Features]:
        if not self._wanted.data:
            raise TrainingError("FID and KID compare with data: name some with --data.")
        extractor = self._extractor  # before anything is painted: it may lack its weights
        return extractor(self._pictures), extractor(self._painted)

    def _styles(self, count: int) -> list[tuple[str, list[str]]]:
        """Label and prompts of ``count`` pictures: the data's own, those asked for, or each of the model's styles."""
        if self._wanted.prompts:
            return [(prompt, [prompt] * count) for prompt in self._wanted.prompts]
        if self._wanted.data:
            return [(f"{len(self._prompts)} pictures of {self._wanted.data}", self._prompts[:count])]
        styles = self._painter.styles or [("its default prompt", self._painter.prompt)]
        return [(name, [prompt] * count) for name, prompt in styles]

    def _settings(self, prompts: Sequence[str], control: str) -> list[Settings]:
        """One seed each, counting up."""
        first, strength = self._wanted.seed, self._wanted.strength
        return [
            self._painter.settings(prompt, seed=first + place, control=control, strength=strength)
            for place, prompt in enumerate(prompts)
        ]

    def _clips(self) -> list[tuple[str, list[Picture]]]:
        size, frames = self._painter.size, min(self._wanted.count, 8)
        if self._wanted.video:
            film = read_film(self._wanted.video, frames=self._wanted.count)
            return [(Path(self._wanted.video).name, [fit(each, size) for each in film])]
        (photograph,) = held_out_photographs(PHOTOGRAPHS[:1], -(-max(size) * 8 // 7)).values()
        clips = {"still": temporal.still(photograph, frames=frames), "pan": temporal.pan(photograph, frames=frames)}
        return [(name, [fit(each, size) for each in clip]) for name, clip in clips.items()]


METRICS: Mapping[str, Callable[[_Bench], list[Score]]] = {
    "edge-skill": _Bench.edge_skill,
    "fid": _Bench.fid,
    "kid": _Bench.kid,
    "clip": _Bench.clip,
    "depth": _Bench.depth,
    "warp": _Bench.warp,
    "shapes": _Bench.shapes,
}
