"""What an int8 form is calibrated on, and how near its pictures come to those of f32.

Calibrated on drawn portraits. Which layers become int8 was chosen by four of the held-out photographs; what is recorded
was measured on four others, which had no part in training, calibrating or choosing.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.colours import BAND
from pipelines.condition import DRAWN
from pipelines.conditioners import make_conditioners
from pipelines.fold import Folded
from pipelines.prompt import Embedding
from pipelines.settings import Kind, Settings
from pipelines.training.drawn.portraits import portrait
from pipelines.training.drawn.rooms import plain_ground
from pipelines.training.drawn.solids import render
from pipelines.training.evaluation.edges import held_out_photographs

Picture = NDArray[np.uint8]
#: scikit-image's photographs that nothing was chosen by.
UNTOUCHED = ("camera", "coins", "clock", "brick")
#: Pictures to calibrate on: each style four times, at these conditioning scales and with so much of the colours of the
#: camera in the noise, in turn.
COUNT = 48
_SCALES = (1.0, 1.0, 0.75, 0.5, 0.0)
_COLOURS = (0.0, 0.7, 0.0, 1.0, 0.4, 0.7, 0.0)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """One picture as the pieces take it, each with a batch of one: ``inputs`` noise, embeddings and temb; ``maps`` in
    [0, 1], in the ControlNet's polarity."""

    inputs: Mapping[str, NDArray[np.float32]]
    maps: NDArray[np.float32]
    scale: NDArray[np.float32]


def calibration(pipeline: Any, folded: Folded, *, count: int = COUNT, seed: int = 0) -> list[Sample]:
    """Portraits of that ``seed``, in all styles, drawn by each of the model's controls, at several strengths."""
    rng = np.random.default_rng(seed)
    draw = _Maps(pipeline)
    samples = []
    for index, settings in zip(range(count), _mixed(pipeline, rng), strict=False):
        picture = portrait(plain_ground(pipeline.size[0], rng), rng)
        embedding: Embedding = pipeline._encode_prompt.of(settings)
        constants = folded.constants(embedding, pipeline._time_ids(*pipeline.size) if pipeline._is_xl else None)
        settings = settings.replace(init_strength=_COLOURS[index % len(_COLOURS)])
        (noise,) = pipeline.start([settings], _small(picture), pipeline.size)
        assert constants.temb is not None
        rows = {"noise": noise, "embeddings": constants.embeddings, "temb": constants.temb}
        inputs = {name: row[None].float().numpy() for name, row in rows.items()}
        scale = np.full((1, 1), _SCALES[index % len(_SCALES)], np.float32)
        samples.append(Sample(inputs=inputs, maps=draw.upright(picture, settings), scale=scale))
    return samples


def compare(exact: Any, other: Any, *, seeds: Sequence[int] = (0, 1)) -> dict[str, float]:
    """The least PSNR (dB) of ``other``'s uint8 pictures against ``exact``'s, for each style.

    Of four untouched photographs, with and without their colours, each control, two strengths, and text alone.
    """
    draw, worst = _Maps(exact), {}
    photographs = list(held_out_photographs(UNTOUCHED, size=exact.size[0]).values())
    for name, prompt in _styles(exact):
        found = []
        for (index, picture), seed in itertools.product(enumerate(photographs), seeds):
            kinds: Sequence[Kind] = exact.controls
            control = kinds[index % len(kinds)] if kinds else "none"
            scale = (1.0, 0.6)[(index + seed) % 2]
            settings = Settings(
                prompt=prompt,
                seed=97 * index + seed,
                control=control,
                conditioning_scale=scale,
                init_strength=(0.0, 0.7)[seed % 2],
            )
            found.append(_psnr(exact, other, draw(picture, settings), settings, _small(picture)))
        alone = Settings(prompt=prompt, control="none")
        found.append(_psnr(exact, other, draw.none, alone))
        worst[name] = round(min(found), 2)
    return worst


def sheet(exact: Any, other: Any) -> Picture:
    """For each style a row: f32, the other, and eight times their difference around grey."""
    photographs = list(held_out_photographs().values())
    draw, rows = _Maps(exact), []
    for index, (_, prompt) in enumerate(_styles(exact)):
        settings = Settings(prompt=prompt, seed=index, control=exact.controls[0] if exact.controls else "none")
        maps = draw(photographs[index % len(photographs)], settings)
        left, right = (
            pipeline.paint_uint8(maps, [settings])[0].numpy().astype(np.int16) for pipeline in (exact, other)
        )
        difference = np.clip(128 + 8 * (right - left), 0, 255)
        rows.append(np.concatenate([left, right, difference], 1).astype(np.uint8))
    half = (len(rows) + 1) // 2
    return np.concatenate([np.concatenate(rows[:half]), np.concatenate(rows[half : 2 * half])], 1)


def flicker(exact: Any, other: Any, *, frames: int = 12) -> float:
    """Grey levels: how much the error moves between frames of a slow pan, the mean of a picture, worst style."""
    photograph = next(iter(held_out_photographs(size=2 * exact.size[0]).values()))
    draw, worst = _Maps(exact), 0.0
    for _, prompt in _styles(exact):
        settings = Settings(prompt=prompt, seed=1, control=exact.controls[0] if exact.controls else "none")
        errors = []
        for frame in range(frames):
            view = photograph[frame : frame + exact.size[0], 2 * frame : 2 * frame + exact.size[1]]
            maps = draw(np.ascontiguousarray(view), settings)
            left, right = (p.paint_uint8(maps, [settings])[0].numpy().astype(np.int16) for p in (exact, other))
            errors.append(right - left)
        moved = [float(np.abs(b - a).mean()) for a, b in itertools.pairwise(errors)]
        worst = max(worst, *moved)
    return round(worst, 3)


class _Maps:
    """Draws the maps of a pipeline's controls."""

    def __init__(self, pipeline: Any) -> None:
        conditioners = make_conditioners(pipeline.controls, device=torch.device("cpu"))
        self._drawers = {kind: conditioner.drawer() for kind, conditioner in conditioners.items()}
        self._wanted = {each.kind: each.polarity for each in pipeline.preset.controls}
        height, width = pipeline.size
        self.none = torch.zeros(1, 0, height, width, dtype=torch.uint8)

    def __call__(self, picture: Picture, settings: Settings) -> torch.Tensor:
        """uint8 1×K×H×W as drawn."""
        if not settings.kinds:
            return self.none
        kind = settings.kinds[0]
        if kind == "depth":  # known, where an estimator's weights would have to be fetched
            drawn = render(picture.shape[0], np.random.default_rng(settings.seed)).depth
        else:
            drawn = self._drawers[kind](picture, settings).map
        return torch.from_numpy(drawn)[None, None]

    def upright(self, picture: Picture, settings: Settings) -> NDArray[np.float32]:
        """1×1×H×W in [0, 1], in the polarity of the ControlNet; black where the settings name no control."""
        if not settings.kinds:
            return np.zeros((1, 1, *picture.shape[:2]), np.float32)
        kind = settings.kinds[0]
        numbers = self(picture, settings).numpy().astype(np.float32) / np.float32(255)
        return numbers if self._wanted.get(kind, DRAWN[kind]) == DRAWN[kind] else np.float32(1) - numbers


def _mixed(pipeline: Any, rng: np.random.Generator) -> Iterator[Settings]:
    """Styles in turn; canny (or the model's first control) five times of six, thresholds as people set them."""
    prompts = [prompt for _, prompt in _styles(pipeline)]
    for index in itertools.count():
        low = int(rng.integers(40, 140))
        kinds: Sequence[Kind] = pipeline.controls
        control = "none" if not kinds else kinds[min(index % 6, 1) % len(kinds) if index % 6 == 5 else 0]
        yield Settings(
            prompt=prompts[index % len(prompts)],
            seed=int(rng.integers(1000)),
            control=control,
            canny_low=low,
            canny_high=2 * low,
        )


def _styles(pipeline: Any) -> list[tuple[str, str]]:
    styles = [(style.name, style.prompt) for style in pipeline.preset.styles]
    return styles or [("default", pipeline.preset.defaults.prompt)]


def _small(picture: Picture) -> torch.Tensor:
    """uint8 1×H/4×W/4×3, as the camera's colours reach the noise."""
    height, width = picture.shape[0] // BAND, picture.shape[1] // BAND
    return torch.from_numpy(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA))[None]


def _psnr(exact: Any, other: Any, maps: torch.Tensor, settings: Settings, colours: torch.Tensor | None = None) -> float:
    left, right = (pipeline.paint_uint8(maps, [settings], colours=colours)[0].numpy() for pipeline in (exact, other))
    return float(min(99.0, cv2.PSNR(left, right)))
