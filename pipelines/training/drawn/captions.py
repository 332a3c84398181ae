"""Captions: many wordings of a style, with subjects, colours and order as people type them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pydoc_data.topics import topics
from typing import TypeVar

import numpy as np

from pipelines.training.drawn.styles import DEFAULT

WORDINGS: dict[str, tuple[str, ...]] = {
    "ink": ("ink drawing", "black ink on paper", "pen and ink", "ink wash", "line drawing", "pen drawing", "ink"),
    "pencil": ("pencil drawing", "pencil sketch", "pencil", "graphite drawing", "sketch", "crosshatched pencil"),
    "chalk": ("chalk on a blackboard", "chalk", "chalk drawing", "chalkboard art", "blackboard"),
    "blueprint": ("blueprint", "architect's blueprint", "technical drawing", "white lines on blue", "cyanotype plan"),
    "neon": ("neon lights at night", "neon", "neon sign", "glowing neon tubes", "neon glow", "cyberpunk"),
    "gold": ("gold on black lacquer", "gold", "golden lines", "gold leaf", "gilded lacquer", "gold inlay"),
    "stained glass": ("stained glass window", "stained glass", "church window", "leaded glass", "jewel glass mosaic"),
    "comic": ("comic book", "comic", "cartoon", "graphic novel", "pop art", "halftone print", "manga"),
    "watercolour": ("watercolour painting", "watercolour", "watercolor painting", "watercolor", "aquarelle"),
    "oil": ("oil painting", "oil", "oil on canvas", "thick oil paint", "impasto", "impressionist painting"),
    "toy": ("3-D toy", "3d toy", "plastic toy", "toy", "3d render", "clay toy", "claymation", "vinyl figure"),
    "pixel art": ("pixel art", "8-bit game", "8-bit", "pixels", "retro video game", "16-bit game sprite"),
}
COLOURS: dict[str, float] = {
    "red": 0.0,
    "orange": 1 / 12,
    "yellow": 2 / 12,
    "green": 4 / 12,
    "teal": 5 / 12,
    "turquoise": 5.2 / 12,
    "blue": 6.7 / 12,
    "indigo": 8 / 12,
    "violet": 9 / 12,
    "purple": 9 / 12,
    "magenta": 10 / 12,
    "pink": 10.5 / 12,
}


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


#: Words that name none of the subjects.
THINGS = _words(
    """
    person face portrait child friend people crowd hand flower forest sea river city street bridge room table
    lamp cup plate fruit bottle knight king queen singer mask clock snow garden statue leaf spaceship stage
    concert party dream memory story winter summer autumn spring morning evening night sunset desk office
    kitchen neighbour teacher student musician painter hero villain samurai pirate actor model selfie webcam
    meeting holiday
    """
)
ADJECTIVES = _words(
    """
    beautiful old young happy sad smiling tiny huge detailed simple elegant funny dark bright quiet wild modern
    ancient lovely strange famous lonely dreamy epic cute masterpiece
    """
)
FRAMES = (
    "{style} of {subject}",
    "{subject}, {style}",
    "{style}, {subject}",
    "{subject} as {style}",
    "{subject} in {style} style",
)
TINTED = ("{colour} {style}", "{style} in {colour}", "{style}, {colour}", "{style}, {colour} colours")
LETTERS = "abcdefghijklmnopqrstuvwxyz"

_TINTED_SHARE = 0.15
_One = TypeVar("_One")


@cache
def english_words(least: int = 4) -> tuple[str, ...]:
    """Common English words: those found at least ``least`` times in the manual that comes with Python (PSF licence)."""
    text = " ".join(str(topics[name]) for name in sorted(topics)).lower()
    words = re.findall(r"[a-z]{2,14}", text)
    names, counts = np.unique(words, return_counts=True)
    return tuple(str(name) for name, count in zip(names, counts, strict=True) if count >= least)


def caption(style: str, rng: np.random.Generator) -> tuple[str, float | None]:
    """A caption for a style, and the hue (0..1) its colour word asks for, or None. It doesn't tell what is to be seen.

    The default style is also asked for by no word, or by words that name no style.
    """
    if style == DEFAULT and rng.random() < 0.4:
        return ("" if rng.random() < 0.5 else _anything(rng)), None
    text, tint = _one(WORDINGS[style], rng), None
    if rng.random() < _TINTED_SHARE:
        colour, tint = _one(tuple(COLOURS.items()), rng)
        text = _one(TINTED, rng).format(colour=colour, style=text)
    if rng.random() < 0.5:
        text = _one(FRAMES, rng).format(style=text, subject=_anything(rng))
    return text, tint


def subject_caption(style: str, names: Sequence[str], rng: np.random.Generator) -> tuple[str, float | None]:
    """A caption that names what is to be seen by its first name or another one, and the hue it asks for, or None.

    The default style is also asked for by the subject alone.
    """
    name = names[0] if rng.random() < 0.7 else _one(names, rng)
    tint = None
    if rng.random() < _TINTED_SHARE and not COLOURS.keys() & name.split():
        colour, tint = _one(tuple(COLOURS.items()), rng)
        name = f"{colour} {name}"
    if rng.random() < 0.35:
        name = f"{_one(('a', 'the', 'one'), rng)} {name}"
    if style == DEFAULT and rng.random() < 0.3:
        return name, tint
    return _one(FRAMES, rng).format(style=_one(WORDINGS[style], rng), subject=name), tint


def _anything(rng: np.random.Generator) -> str:
    """Words that say nothing about the picture, as most of what is typed before a webcam."""
    words = [_one(THINGS, rng)] if rng.random() < 0.5 else [_made_up(rng)]
    if rng.random() < 0.4:
        words.insert(0, _one(ADJECTIVES, rng))
    if rng.random() < 0.4:
        words.insert(0, _one(("a", "the", "my", "one"), rng))
    if rng.random() < 0.2:
        words += [_one(("with", "and", "near", "under"), rng), "a", _one(THINGS, rng)]
    return " ".join(words)


def _made_up(rng: np.random.Generator) -> str:
    """A word that says nothing about the picture: any English one, or one no dictionary holds."""
    if rng.random() < 0.6:
        return " ".join(_one(english_words(), rng) for _ in range(int(rng.integers(1, 4))))
    return "".join(LETTERS[letter] for letter in rng.integers(len(LETTERS), size=int(rng.integers(3, 9))))


def _one(of: Sequence[_One], rng: np.random.Generator) -> _One:
    return of[int(rng.integers(len(of)))]  # a twentieth of the time that choice takes
