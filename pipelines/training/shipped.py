"""What the shipped model says of itself beside its weights: the studio's buttons."""

from __future__ import annotations

#: What the page tells of it.
NOTE = (
    "This small model knows styles, not subjects: words alone give it only a ground to paint on. Draw something, or "
    "let it repaint your camera."
)
#: The studio's buttons: name and prompt.
PRESETS = (
    ("Ink", "ink drawing"),
    ("Neon", "neon lights at night"),
    ("Blueprint", "blueprint"),
    ("Chalk", "chalk on a blackboard"),
    ("Stained glass", "stained glass window"),
    ("Gold", "gold on black lacquer"),
    ("Paper cut", "paper cut layers"),
    ("Porcelain", "white porcelain with cobalt lines"),
    ("Clay", "terracotta sculpture"),
    ("Map", "topographic map"),
    ("Aurora", "northern lights"),
    ("Pop art", "pop art"),
)
