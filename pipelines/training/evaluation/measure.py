"""What ``sdxs-live eval`` does: paints what each metric looks at, and looks at it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from pipelines.depth import DepthConditioner
from pipelines.detectors import has_weights
from pipelines.errors import TrainingError
from pipelines.training.evaluation import (
    blends,
    camera_colours,
    clip,
    depth,
    fidelity,
    known_depth,
    strengths,
    styles,
    temporal,
    variety,
)
from pipelines.training.evaluation.bench import Bench, Wanted
from pipelines.training.evaluation.edges import edge_skill, edges_of
from pipelines.training.evaluation.film import steadied
from pipelines.training.evaluation.painter import Painter
from pipelines.training.evaluation.score import Score
from pipelines.training.evaluation.shapes import obeyed_scores

Picture = NDArray[np.uint8]


def measure(painter: Painter, metrics: Sequence[str], wanted: Wanted, *, judge: Painter | None = None) -> list[Score]:
    """The ``metrics`` by name, in that order. ``judge``: whose pictures teach the judge of styles, if not the model's.

    Raises TrainingError for one that is not known or lacks something.
    """
    check(metrics)
    if wanted.control not in ("", "none"):
        painter.conditioner(wanted.control)
    bench = Bench(painter, wanted, judge)
    return [score for name in metrics for score in METRICS[name](bench)]


def check(metrics: Sequence[str]) -> None:
    """Raises TrainingError for a metric that is not known."""
    for name in metrics:
        if name not in METRICS:
            raise TrainingError(f"There is no metric {name!r}; there are {', '.join(METRICS)}.")


def usual(painter: Painter, wanted: Wanted) -> list[str]:
    """The metrics that can be had with what was named, less those that paint hundreds of pictures."""
    drawn = wanted.data == "shapes"
    having = {
        "edge-skill": "canny" in painter.controls,
        "fid": drawn or bool(wanted.data and wanted.features),
        "kid": drawn or bool(wanted.data and wanted.features),
        "clip": bool(wanted.clip_model),
        "depth": "depth" in painter.controls and has_weights("midas"),
        "depth-skill": "depth" in painter.controls,
        "warp": bool(painter.controls),
        "shapes": drawn,
    }
    return [name for name, there in having.items() if there]


def _edge_skill(bench: Bench) -> list[Score]:
    """Of each style on the same pictures, and their mean; with data, of their own prompts."""
    given = {str(place): edges_of(picture) for place, picture in enumerate(bench.pictures)}
    if len(given) < 2:
        raise TrainingError("The edge skill compares pictures with each other: it needs two at least.")
    found = [
        Score(
            metric="edge-skill",
            value=edge_skill(given, dict(zip(given, painted, strict=True))),
            better="higher",
            part=label,
            about=label,
        )
        for label, painted in bench.by_style(bench.wanted.control or "canny").items()
    ]
    if len(found) > 1:
        about = f"mean of {len(found)} styles, {len(given)} pictures"
        mean = float(np.mean([score.value for score in found]))
        found.append(Score(metric="edge-skill", value=mean, better="higher", about=about))
    return found


def _fid(bench: Bench) -> list[Score]:
    return [fidelity.fid_score(*bench.features, extractor=bench.extractor.name)]


def _kid(bench: Bench) -> list[Score]:
    return [fidelity.kid_score(*bench.features, extractor=bench.extractor.name)]


def _clip(bench: Bench) -> list[Score]:
    scorer = clip.ClipScore(bench.wanted.clip_model, device=bench.painter.device)
    return [clip.clip_score(scorer(bench.painted, bench.prompts), model=scorer.name)]


def _depth(bench: Bench) -> list[Score]:
    estimator = cast(DepthConditioner, bench.painter.conditioner("depth"))
    pictures = bench.pictures
    ((_, prompts), *_) = bench.styles(len(pictures))
    painted = bench.painter.paint(pictures, bench.settings(prompts, "depth"))
    given, found = ([estimator.nearness(each, "midas") for each in some] for some in (pictures, painted))
    return depth.scores(given, found, about=f"midas, {len(pictures)} pictures")


def _warp(bench: Bench) -> list[Score]:
    """In the first style, or in those that were asked for: as it is shown live, and as it was painted."""
    every = bench.styles(1) if bench.wanted.styles else bench.styles(1)[:1]
    control = bench.control if bench.painter.controls else "none"
    lines = []
    for name, frames in bench.clips():
        shown: dict[str, list[Picture]] = {}
        raw: dict[str, list[Picture]] = {}
        for label, prompts in every:
            (settings,) = bench.settings(prompts, control)
            if bench.wanted.steadiness is not None:
                settings = settings.replace(steadiness=bench.wanted.steadiness)
            raw[label] = bench.painter.paint(frames, [settings] * len(frames))
            shown[label] = steadied(frames, raw[label], settings)
        steadiness = f"steadiness {settings.steadiness:g}"
        lines += _flicker(frames, shown, part=name, about=f"{name}, {control}, {steadiness}")
        lines += _flicker(frames, raw, part=f"{name} as painted", about=f"{name}, {control}, as painted")
    return lines


def _flicker(
    frames: Sequence[Picture], clips: Mapping[str, Sequence[Picture]], *, part: str, about: str
) -> list[Score]:
    """The warp error, and where the camera stands still the frame difference."""
    warped = {label: temporal.warp_error(frames, painted) for label, painted in clips.items()}
    lines = temporal.scores(warped, part=part, about=about)
    if part.split()[0] == "still":
        plain = {label: temporal.frame_difference(frames, painted) for label, painted in clips.items()}
        lines += temporal.scores(plain, part=part, about=about, metric="frame")
    return lines


def _shapes(bench: Bench) -> list[Score]:
    shares = bench.shapes_judge.obeyed(bench.painted, bench.prompts)
    return obeyed_scores(shares, about=f"{len(bench.painted)} pictures")


METRICS: Mapping[str, Callable[[Bench], list[Score]]] = {
    "edge-skill": _edge_skill,
    "fid": _fid,
    "kid": _kid,
    "clip": _clip,
    "depth": _depth,
    "depth-skill": known_depth.measure,
    "warp": _warp,
    "shapes": _shapes,
    "styles": styles.measure,
    "seeds": variety.measure,
    "strengths": strengths.measure,
    "colours": camera_colours.measure,
    "blends": blends.measure,
}
