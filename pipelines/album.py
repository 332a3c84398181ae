"""An album: what a small model can't know by heart, kept as drawings that its words are looked up in.

Some millions of parameters hold styles, and no hundreds of things. So a model may come with ``subjects.npz``: strokes
and a few colours of each thing that it knows by name. Where a picture is painted from text alone and the prompt names
one, its strokes are the map and its colours enter the noise, as a camera's would: retrieval instead of memory
(Blattmann et al., arXiv 2204.11824). The seed says where it stands, and on what ground.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.errors import CheckpointError
from pipelines.settings import Settings

FILE = "subjects.npz"
#: Pixels a side of the square that strokes lie in, and of one subject's colours.
SQUARE, THUMB = 256, 24
#: How much of the remembered colours enters the noise; the rest is the seed's.
ENTERS = 0.9
#: Colours come at a quarter of the picture's sides (see ``pipelines.colours``).
SHRINK = 4

_TURN, _SHIFT, _SCALES = 0.12, 0.07, (0.82, 1.05)  # radians, of the side, of the size in the album
_FIXED = 4  # binary places of the coordinates that strokes are drawn at

Picture = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """``names``: what it is called. ``strokes``: N×2 (x, y) each, uint8. ``colours``: THUMB×THUMB×4 RGBA, uint8."""

    names: Sequence[str]
    strokes: Sequence[NDArray[np.uint8]]
    colours: Picture


@dataclass(frozen=True, kw_only=True, eq=False)
class Recollection:
    """What to paint with instead: ``map`` uint8 H×W, white lines on black; ``colours`` uint8 H/4×W/4×3; ``settings``,
    held to the map, with the colours."""

    map: Picture
    colours: Picture
    settings: Settings


class Album:
    """The subjects of one model. ``silent``: wordings of styles, whose words name no subject (a comic *book*)."""

    def __init__(self, subjects: Sequence[Subject], silent: Sequence[str] = ()) -> None:
        self.subjects, self.silent = tuple(subjects), tuple(silent)
        self._named = {name: subject for subject in subjects for name in subject.names}
        self._pattern = _any_of(self._named, plural="(?:es|s)?")
        self._silent = _any_of(silent)

    def named(self, prompt: str) -> Subject | None:
        """The subject that a prompt names; of several the first, of its names that fit the longest."""
        found = self._pattern.search(self._silent.sub(" ", prompt.lower())) if self._named else None
        return self._named[found[1]] if found else None

    def recall(self, settings: Settings, size: tuple[int, int]) -> Recollection | None:
        """What is known of a picture that is painted from text alone, at ``size`` (height, width); None of another
        one, and where the prompts name no subject.

        Between two subjects the nearer one's lines fade: half-way there are none, and the colours are mixed.
        """
        one, other, share = self._asked(settings)
        if one is None and other is None:
            return None
        place = _Place.of(settings)
        nearer, shown = (one, 1.0) if one is other else (one, 1 - 2 * share) if share < 0.5 else (other, 2 * share - 1)
        coloured = [place.coloured(subject, size) for subject in (one, other)]
        return Recollection(
            map=place.drawn(nearer.strokes if nearer else (), size),
            colours=np.rint(coloured[0] + share * (coloured[1] - coloured[0])).astype(np.uint8),
            settings=_held(settings, shown),
        )

    def held(self, settings: Settings) -> Settings:
        """The settings that ``recall`` would have painted with: what such a picture costs hangs on them."""
        one, other, _ = self._asked(settings)
        return settings if one is None and other is None else _held(settings, 1.0)

    def _asked(self, settings: Settings) -> tuple[Subject | None, Subject | None, float]:
        """Both subjects of a picture from text alone, and how far it is on the way to the second."""
        if settings.kinds:
            return None, None, 0.0
        share = settings.blend if settings.prompt_b else 0.0
        one = self.named(settings.prompt)
        return one, self.named(settings.prompt_b) if share else one, share

    def save(self, file: Path) -> None:
        """Write ``subjects.npz``; some 0.7 kB a subject."""
        strokes = [stroke for subject in self.subjects for stroke in subject.strokes]
        sheet = np.concatenate([subject.colours for subject in self.subjects])
        done, data = cv2.imencode(".webp", cv2.cvtColor(sheet, cv2.COLOR_RGBA2BGRA), [cv2.IMWRITE_WEBP_QUALITY, 80])
        assert done
        np.savez_compressed(
            file,
            names=np.array(["/".join(subject.names) for subject in self.subjects]),
            silent=np.array(self.silent),
            strokes=np.array([len(subject.strokes) for subject in self.subjects], np.uint16),
            lengths=np.array([len(stroke) for stroke in strokes], np.uint16),
            steps=np.diff(np.concatenate(strokes), axis=0, prepend=np.uint8(0)),  # modulo 256; they pack better
            colours=data.reshape(-1),
        )

    @classmethod
    def load(cls, file: Path) -> Album:
        """Raises CheckpointError for a file that is not as ``save`` writes it."""
        try:
            with np.load(file, allow_pickle=False) as kept:
                return cls(_subjects(kept), [str(each) for each in kept["silent"]])
        except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error, cv2.error) as error:
            raise CheckpointError(
                f"{file} holds no subjects that can be read ({error}); fetch the model anew."
            ) from None


@dataclass(frozen=True, kw_only=True, eq=False)
class _Place:
    """Where a seed puts what is remembered, and the ground's colour at the top and at the bottom."""

    turn: float
    right: float
    down: float
    scale: float
    ground: NDArray[np.float32]

    @classmethod
    def of(cls, settings: Settings) -> _Place:
        """Between two seeds it travels from one's place to the other's."""
        one, other = (_dice(seed) for seed in (settings.seed, settings.seed_b))
        dice = one + settings.seed_blend * (other - one)
        low, high = _SCALES
        return cls(
            turn=_TURN * (2 * dice[0] - 1),
            right=_SHIFT * (2 * dice[1] - 1),
            down=_SHIFT * (2 * dice[2] - 1),
            scale=low + (high - low) * dice[3],
            ground=(100 + 120 * dice[4:10]).reshape(2, 3).astype(np.float32),
        )

    def drawn(self, strokes: Sequence[NDArray[np.uint8]], size: tuple[int, int]) -> Picture:
        """Lines a pixel wide, white on black."""
        sheet, move = np.zeros(size, np.uint8), self._move(size, SQUARE)
        moved = [np.rint((stroke @ move[:, :2].T + move[:, 2]) * 2**_FIXED).astype(np.int32) for stroke in strokes]
        cv2.polylines(sheet, moved, isClosed=False, color=255, thickness=1, lineType=cv2.LINE_8, shift=_FIXED)
        return sheet

    def coloured(self, subject: Subject | None, size: tuple[int, int]) -> NDArray[np.float32]:
        """The ground, and the subject's colours on it, 0..255."""
        height, width = (side // SHRINK for side in size)
        down = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
        ground = np.broadcast_to(self.ground[0] + down * (self.ground[1] - self.ground[0]), (height, width, 3))
        if subject is None:
            return ground
        seen = subject.colours.astype(np.float32)
        seen[..., :3] *= seen[..., 3:] / 255  # multiplied, so that what is unseen doesn't bleed in
        move = self._move((height, width), THUMB)
        placed = cv2.warpAffine(seen, move, (width, height), flags=cv2.INTER_LINEAR)
        return np.asarray(ground * (1 - placed[..., 3:] / 255) + placed[..., :3], np.float32)

    def _move(self, size: tuple[int, int], side: int) -> NDArray[np.float64]:
        """The affine map (2×3) from a square of ``side`` into the middle of a picture; pixels' middles are at .5."""
        short, (height, width) = min(size), size
        factor = self.scale * short / side
        cos, sin = factor * np.cos(self.turn), factor * np.sin(self.turn)
        turned = np.array([[cos, -sin], [sin, cos]])
        middle = np.array([width / 2 + self.right * short - 0.5, height / 2 + self.down * short - 0.5])
        return np.column_stack([turned, middle - turned @ np.full(2, (side - 1) / 2)])


def _held(settings: Settings, shown: float) -> Settings:
    scale = settings.conditioning_scale * shown
    return settings.replace(control="canny", conditioning_scale=scale, init_strength=ENTERS)


def _dice(seed: int) -> NDArray[np.float64]:
    return np.random.default_rng((19, seed)).random(10)


def _any_of(names: Any, plural: str = "") -> re.Pattern[str]:
    """Whole words, the longest first; group 1 is the name."""
    either = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.compile(rf"(?<!\w)({either}){plural}(?!\w)" if either else r"(?!)")


def _subjects(kept: Any) -> list[Subject]:
    strokes = np.split(np.cumsum(kept["steps"], axis=0, dtype=np.uint8), np.cumsum(kept["lengths"])[:-1])
    ends = np.cumsum(kept["strokes"])
    sheet = cv2.imdecode(kept["colours"], cv2.IMREAD_UNCHANGED)
    thumbs = cv2.cvtColor(sheet, cv2.COLOR_BGRA2RGBA).reshape(-1, THUMB, THUMB, 4)
    return [
        Subject(names=tuple(str(names).split("/")), strokes=strokes[end - count : end], colours=thumb)
        for names, end, count, thumb in zip(kept["names"], ends, kept["strokes"], thumbs, strict=True)
    ]


def find_album(directory: Path | None, controls: Collection[str]) -> Album | None:
    """The album of a model directory, where it has one and a ControlNet to paint from it. Raises CheckpointError."""
    if directory is None or "canny" not in controls or not (directory / FILE).is_file():
        return None
    return Album.load(directory / FILE)
