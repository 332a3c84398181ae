"""What the shipped model says of itself beside its weights: the studio's buttons."""

from __future__ import annotations

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
