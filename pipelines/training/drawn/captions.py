"""Captions: many wordings of a style, with subjects, colours and order as people type them."""

from __future__ import annotations

import re
from functools import cache
from pydoc_data.topics import topics

import numpy as np

from pipelines.training.drawn.styles import DEFAULT

WORDINGS: dict[str, tuple[str, ...]] = {
    "ink": (
        "ink drawing",
        "black ink on paper",
        "pen and ink sketch",
        "ink wash",
        "line drawing",
        "sketch",
        "pen drawing",
    ),
    "neon": (
        "neon",
        "neon sign",
        "neon lights at night",
        "glowing neon tubes",
        "neon glow",
        "cyberpunk neon",
        "cyberpunk",
    ),
    "blueprint": ("blueprint", "architect's blueprint", "technical drawing", "white lines on blue", "cyanotype plan"),
    "chalk": ("chalk", "chalk on a blackboard", "chalk drawing", "chalkboard art", "blackboard"),
    "stained glass": ("stained glass", "stained glass window", "church window", "leaded glass", "jewel glass mosaic"),
    "gold": ("gold", "gold on black lacquer", "golden lines", "gold leaf", "gilded lacquer", "gold inlay"),
    "paper cut": ("paper cut", "paper cut layers", "layered paper", "papercut", "paper craft", "origami paper"),
    "porcelain": (
        "porcelain",
        "white porcelain with cobalt lines",
        "delft porcelain",
        "china relief",
        "glazed porcelain",
    ),
    "clay": ("clay", "terracotta", "clay relief", "terracotta sculpture", "claymation", "clay sculpture"),
    "topographic": ("topographic map", "map", "contour lines map", "old map", "cartography", "atlas map"),
    "aurora": ("aurora", "northern lights", "aurora borealis", "polar lights at night", "aurora sky"),
    "pop art": ("pop art", "comic", "comic book", "halftone print", "pop art comic with dots", "screen print"),
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
SUBJECTS = (
    "person",
    "face",
    "portrait",
    "woman",
    "man",
    "girl",
    "boy",
    "child",
    "friend",
    "people",
    "crowd",
    "hand",
    "cat",
    "dog",
    "bird",
    "horse",
    "fish",
    "lion",
    "owl",
    "butterfly",
    "flower",
    "tree",
    "forest",
    "mountain",
    "sea",
    "beach",
    "river",
    "city",
    "street",
    "house",
    "castle",
    "church",
    "bridge",
    "tower",
    "room",
    "window",
    "door",
    "table",
    "chair",
    "lamp",
    "book",
    "cup",
    "coffee",
    "plate",
    "fruit",
    "apple",
    "cake",
    "bottle",
    "guitar",
    "piano",
    "camera",
    "phone",
    "computer",
    "car",
    "bicycle",
    "train",
    "ship",
    "rocket",
    "plane",
    "astronaut",
    "robot",
    "dragon",
    "knight",
    "wizard",
    "king",
    "queen",
    "dancer",
    "singer",
    "skull",
    "mask",
    "hat",
    "glasses",
    "shoe",
    "clock",
    "key",
    "star",
    "moon",
    "sun",
    "cloud",
    "rain",
    "snow",
    "fire",
    "garden",
    "temple",
    "statue",
    "mushroom",
    "leaf",
    "rose",
    "sunflower",
    "spaceship",
    "planet",
)
ADJECTIVES = (
    "beautiful",
    "old",
    "young",
    "happy",
    "sad",
    "smiling",
    "tiny",
    "huge",
    "detailed",
    "simple",
    "elegant",
    "funny",
    "dark",
    "bright",
    "quiet",
    "wild",
    "modern",
    "ancient",
    "lovely",
    "strange",
    "famous",
    "lonely",
    "dreamy",
    "epic",
    "cute",
    "masterpiece",
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


@cache
def english_words(least: int = 4) -> tuple[str, ...]:
    """Common English words: those found at least ``least`` times in the manual that comes with Python (PSF licence)."""
    text = " ".join(str(topics[name]) for name in sorted(topics)).lower()
    words = re.findall(r"[a-z]{2,14}", text)
    names, counts = np.unique(words, return_counts=True)
    return tuple(str(name) for name, count in zip(names, counts, strict=True) if count >= least)


def caption(style: str, rng: np.random.Generator) -> tuple[str, float | None]:
    """A caption for a style and the hue (0..1) its colour word asks for, or None.

    The default style is also asked for by no word, or by words that name no style.
    """
    if style == DEFAULT and rng.random() < 0.4:
        return ("" if rng.random() < 0.5 else _subject(rng)), None
    text = str(rng.choice(WORDINGS[style]))
    tint = None
    if rng.random() < 0.25:
        colour = str(rng.choice(list(COLOURS)))
        tint = COLOURS[colour]
        text = str(rng.choice(TINTED)).format(colour=colour, style=text)
    if rng.random() < 0.5:
        text = str(rng.choice(FRAMES)).format(style=text, subject=_subject(rng))
    return text, tint


def _subject(rng: np.random.Generator) -> str:
    words = [str(rng.choice(SUBJECTS))] if rng.random() < 0.6 else [_made_up(rng)]
    if rng.random() < 0.4:
        words.insert(0, str(rng.choice(ADJECTIVES)))
    if rng.random() < 0.4:
        words.insert(0, str(rng.choice(("a", "the", "my", "one"))))
    if rng.random() < 0.2:
        words += [str(rng.choice(("with", "and", "near", "under"))), "a", str(rng.choice(SUBJECTS))]
    return " ".join(words)


def _made_up(rng: np.random.Generator) -> str:
    """A word that says nothing about the picture: any English one, or one no dictionary holds."""
    if rng.random() < 0.6:
        return " ".join(str(word) for word in rng.choice(english_words(), int(rng.integers(1, 4))))
    return "".join(rng.choice(list(LETTERS), int(rng.integers(3, 9))))
