"""What the embedded model learns from: scenes of the prepared canvases and subjects, each drawn in two styles."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.errors import TrainingError
from pipelines.training.data.lazy import Lazy
from pipelines.training.drawn import captions, scenes
from pipelines.training.drawn.canvases import FOLDER
from pipelines.training.drawn.colouring import from_field, region_colours
from pipelines.training.drawn.scene import Image, Scene
from pipelines.training.drawn.staging import Staged, stage_canvas, stage_solids, stage_subject, stage_words
from pipelines.training.drawn.styles import STYLES, draw, draw_between
from pipelines.training.drawn.subjects import words_of

Picture = NDArray[np.uint8]
Field = NDArray[np.float32]

_NAMES = tuple(STYLES)
_NO_COLOURS = np.zeros((0, 0, 3), np.float32)


@dataclass(frozen=True, kw_only=True)
class Example:
    """One sample to learn from.

    ``picture``: the target, uint8 H×W×3 RGB. ``map``: uint8 H×W, white lines on black, or depth, near is white; all
    zero where none is shown. ``strength``: the conditioning scale it is meant for, 0..1. ``colours``: the camera's
    picture shrunk four times where the target has its colours; None where they come from the field or the subject.
    """

    picture: Picture
    map: NDArray[np.uint8]
    strength: float
    prompt: str
    colours: Picture | None


class Styled:
    """A source (see ``data.dataset``): neighbours 2i and 2i+1 are one scene in two styles.

    Everything depends on the index alone, or on index and colour field (``example``).
    """

    group = 2
    scene_count = 100_000  # crops and thresholds differ in all of them
    skipped: Mapping[str, str] = {}

    def __init__(self, folder: str, size: tuple[int, int]) -> None:
        """``folder``: where ``python -m pipelines.training prepare`` put its files; empty for its own default.

        Raises TrainingError when they are missing or the pictures wanted are not square.
        """
        if size[0] != size[1]:
            raise TrainingError(f"Drawn styles are square, not {size[1]}×{size[0]}; give them a square size.")
        self._size, place = size[0], Path(folder or FOLDER)
        try:
            self._canvases: NDArray[np.uint8] = np.load(place / "canvases.npy", mmap_mode="r")
            self._subjects: NDArray[np.uint8] = np.load(place / "subjects.npy", mmap_mode="r")
            self._subject_names: list[str] = json.loads((place / "subjects.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise TrainingError(
                f"There are no canvases and subjects in {place} ({error}): run `python -m pipelines.training prepare` "
                "first."
            ) from None
        if not (len(self._canvases) and len(self._subject_names) == len(self._subjects) > 0):
            raise TrainingError(f"The files in {place} don't belong together: run the prepare command again.")
        self._last: tuple[tuple[int, bytes], Staged, Image, Image] | None = None
        count = self.scene_count * self.group
        self.names, self.prompts = Lazy(count, self._name), Lazy(count, self._prompt)

    def plan(self, index: int) -> scenes.Plan:
        """What the sample is to show."""
        return scenes.plan(
            index // self.group, canvases=len(self._canvases), subjects=len(self._subjects), styles=len(_NAMES)
        )

    def read(self, index: int) -> Picture:
        """uint8 H×W×3 RGB: the target, with colours of its own."""
        return self.example(index, None).picture

    def example(self, index: int, field: Field | None, blend: float = 0.0) -> Example:
        """Sample ``index`` in the colours of ``field``: float32 8×8×3 RGB in [0, 1]; None for some of its own.

        ``blend``: how far (0..1) from its style to its neighbour's; the prompt is its own.
        """
        plan = self.plan(index)
        if field is None:
            field = scenes.random_field(np.random.default_rng((17, index // self.group)))
        staged, colours, bare = self._coloured(index // self.group, plan, field)
        picture = self._drawn(index, plan, staged.lines, colours, blend)
        if staged.shown < 1:
            without = self._drawn(index, plan, np.zeros_like(staged.lines), bare, blend)
            picture = without + staged.shown * (picture - without)
        return Example(
            picture=np.rint(picture * 255).astype(np.uint8),
            map=staged.map.copy(),
            strength=plan.strength,
            prompt=self.prompts[index],
            colours=_shrunk(staged.picture) if plan.camera else None,
        )

    def _drawn(self, index: int, plan: scenes.Plan, lines: Picture, colours: Image, blend: float) -> Image:
        """Sample ``index``, ``blend`` of the way to its neighbour."""
        pair = index, index ^ 1
        scene, other = (Scene(lines, colours, self._said(each, plan)[1]) for each in pair)
        if not blend:
            return draw(scene, self._style(index, plan))
        return draw_between((scene, other), (self._style(index, plan), self._style(index ^ 1, plan)), blend)

    def _coloured(self, scene: int, plan: scenes.Plan, field: Field) -> tuple[Staged, Image, Image]:
        """What is to be drawn, and its colours; kept for the neighbour, which shows the same in another style."""
        key = (scene, field.tobytes())
        if self._last is None or self._last[0] != key:
            staged = self._staged(plan, field, np.random.default_rng((12, scene)))
            seen = staged.picture
            if plan.kind != "subject" and not plan.camera:
                seen = np.rint(from_field(field, seen.shape[:2]) * 255).astype(np.uint8)
            nowhere = np.zeros_like(staged.lines)
            bare = region_colours(seen, nowhere) if staged.shown < 1 else _NO_COLOURS
            self._last = key, staged, region_colours(seen, staged.lines), bare
        return self._last[1:]

    def _staged(self, plan: scenes.Plan, field: Field, rng: np.random.Generator) -> Staged:
        if plan.kind == "canvas":
            return stage_canvas(self._canvases[plan.content], self._size, plan, rng)
        if plan.kind == "solids":
            return stage_solids(self._size, plan, rng)
        if plan.kind == "words":
            return stage_words(self._size)
        return stage_subject(self._subjects[plan.content], self._size, plan, field, rng)

    def _style(self, index: int, plan: scenes.Plan) -> str:
        return _NAMES[plan.styles[index % self.group]]

    def _said(self, index: int, plan: scenes.Plan) -> tuple[str, float | None]:
        """The caption and the hue its colour word asks for."""
        rng, style = np.random.default_rng((13, index)), self._style(index, plan)
        if plan.kind in ("canvas", "solids") or (plan.kind == "words" and rng.random() < 0.5):
            return captions.caption(style, rng)
        return captions.subject_caption(style, words_of(self._subject_names[plan.content]), rng)

    def _prompt(self, index: int) -> str:
        return self._said(index, self.plan(index))[0]

    def _name(self, index: int) -> str:
        plan = self.plan(index)
        content = self._subject_names[plan.content] if plan.kind == "subject" else f"{plan.kind} {plan.content}"
        return f"scene {index // self.group} ({content}) in {self._style(index, plan)}"


def _shrunk(picture: Picture) -> Picture:
    height, width = picture.shape[0] // 4, picture.shape[1] // 4
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
