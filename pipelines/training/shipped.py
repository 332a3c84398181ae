"""What the shipped model says of itself beside its weights: the studio's buttons."""

from __future__ import annotations

#: What the page tells of it.
NOTE = (
    "This small model knows styles by heart and looks up hundreds of things by their names: a fox, an old castle, a "
    "birthday cake. Other words give it only a ground to paint on."
)
#: The studio's buttons: name and prompt.
PRESETS = (
    ("Ink", "ink drawing"),
    ("Pencil", "pencil drawing"),
    ("Chalk", "chalk on a blackboard"),
    ("Blueprint", "blueprint"),
    ("Neon", "neon lights at night"),
    ("Gold", "gold on black lacquer"),
    ("Stained glass", "stained glass window"),
    ("Comic", "comic book"),
    ("Watercolour", "watercolour painting"),
    ("Oil", "oil painting"),
    ("3-D toy", "3-D toy"),
    ("Pixel art", "pixel art"),
)
#: What a session shows first: a style in which people know themselves by their own colours.
FIRST = "comic book"
