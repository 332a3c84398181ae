"""Modes: what a session paints, and the settings it starts with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast, get_args

from pipelines.settings import Settings
from streaming.errors import BadRequest

#: ``camera``: pictures that are pushed. ``draw``: a drawing. ``imagine``: text alone.
Mode = Literal["camera", "draw", "imagine"]

#: How strongly a drawing holds the picture, as in the original demo.
DRAWING_SCALE = 0.8


def check_mode(mode: str) -> Mode:
    """The mode itself. Raises BadRequest."""
    if mode not in get_args(Mode):
        raise BadRequest(f"There is no mode {mode!r}; a session is {', '.join(get_args(Mode)[:-1])} or imagine.")
    return cast(Mode, mode)


def text_alone(settings: Settings) -> Settings:
    """The same picture, held to nothing but its words."""
    return settings.replace(control="none", extra_controls={}, init_strength=0.0)


def first_settings(mode: Mode, defaults: Settings, *, controls: Sequence[str]) -> Settings:
    """What a session of this mode starts with. Raises BadRequest when the model can't paint from drawings."""
    if mode == "imagine":
        return text_alone(defaults)
    if mode == "camera":
        return defaults
    if "sketch" not in controls:
        have = f"only {', '.join(controls)}" if controls else "none at all"
        raise BadRequest(f"This model can't paint from drawings, as it has no control 'sketch' ({have}); run another.")
    return as_drawn(defaults).replace(control="sketch", extra_controls={}, conditioning_scale=DRAWING_SCALE)


def as_drawn(settings: Settings) -> Settings:
    """For a hand's drawing instead of a camera's picture: the colours of its paper are not to be kept."""
    return settings.replace(sketch_detector="drawn", init_strength=0.0)


def with_patch(defaults: Settings, patch: Mapping[str, Any]) -> Settings:
    """For files. The colours of a drawing's paper or of a depth map are not kept unless that is asked for."""
    is_map = patch.get("sketch_detector") == "drawn" or patch.get("depth_estimator") == "given"
    return (defaults.replace(init_strength=0.0) if is_map else defaults).replace(patch)
