"""Settings: what a picture looks like. Frozen, validated, changed only by ``replace``, read once a frame."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from pipelines.errors import SettingsError

Threshold = Annotated[int, Field(ge=0, le=1000)]
Prompt = Annotated[str, Field(max_length=500)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Scale = Annotated[float, Field(ge=0.0, le=2.0)]
Kind = Literal["canny", "sketch", "depth"]
Control = Literal["none", "canny", "sketch", "depth"]
SketchDetector = Literal["lineart_standard", "lineart", "pidinet", "hed", "drawn"]
DepthEstimator = Literal["midas", "zoe", "leres", "given"]
Walk = Literal["none", "seeds", "prompts"]

#: Milliseconds of the smallest latency that can be asked for: less than a frame or two is out of anybody's hands.
LEAST_TARGET = 50
#: The kinds of condition maps there are.
KINDS: tuple[Kind, ...] = ("canny", "sketch", "depth")


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", strict=False, allow_inf_nan=False))
class Settings:
    """One immutable snapshot of the choices behind a picture.

    ``prompt``: at most 500 characters. ``prompt_b`` and ``blend`` (0..1): how far the embedding goes from the first
    prompt to the second; without a second prompt nothing is blended. ``seed``: 0..2³²-1, picks the starting noise, the
    same for every frame, so that a still picture stays still. ``seed_b`` and ``seed_blend`` (0..1): how far the noise
    travels to that of another seed. ``walk``: keeps travelling, through ``seeds`` or to and fro between the two
    ``prompts``, ``walk_seconds`` (0.5..600) for each leg.

    ``control``: what the picture is held to; ``none`` paints from text alone. ``conditioning_scale``: 0..2, how
    strongly. ``extra_controls``: further kinds, each with a scale of its own. ``init_strength``: 0..1, how much of the
    camera's colour enters the starting noise. ``lora``: a style adapter by name, empty for none; ``lora_scale``: 0..2.

    ``canny_low`` and ``canny_high``: 0..1000, cv2.Canny's hysteresis thresholds, low ≤ high. ``sketch_detector``: what
    draws the lines; ``drawn`` takes the picture itself for a drawing. ``depth_estimator``: the network behind a depth
    map; ``given`` takes the picture itself for one, near is white. ``depth_every``: 1..60, a network is asked at every
    n-th frame; ``depth_smoothing``: 0..0.99, how slowly the range of depths that is spread over black to white may
    change.

    Of a clip: ``steadiness``, 0..1, how much of what was painted last stays, carried along with what moves, so that it
    doesn't flicker; 0 shows each picture as it was painted.

    Of a live stream: ``skip_similar``, 0..50 grey levels: a picture none of whose blocks differs by as much from the
    last painted one isn't painted again; 0 paints each. ``latency_target``: 50..5000 ms, for which a governor trades
    size, the pace of slow maps and frame rate while the device is busy; 0 paints everything in full.
    """

    prompt: Prompt = ""
    prompt_b: Prompt = ""
    blend: Share = 0.0
    seed: Seed = 0
    seed_b: Seed = 0
    seed_blend: Share = 0.0
    walk: Walk = "none"
    walk_seconds: Annotated[float, Field(ge=0.5, le=600.0)] = 8.0
    conditioning_scale: Scale = 1.0
    control: Control = "canny"
    extra_controls: dict[Kind, Scale] = Field(default_factory=dict)
    init_strength: Share = 0.0
    lora: Annotated[str, Field(max_length=200)] = ""
    lora_scale: Scale = 1.0
    canny_low: Threshold = 100
    canny_high: Threshold = 200
    sketch_detector: SketchDetector = "lineart_standard"
    depth_estimator: DepthEstimator = "midas"
    depth_every: Annotated[int, Field(ge=1, le=60)] = 2
    depth_smoothing: Annotated[float, Field(ge=0.0, le=0.99)] = 0.9
    steadiness: Share = 0.9
    skip_similar: Annotated[float, Field(ge=0.0, le=50.0)] = 0.0
    latency_target: Annotated[int, Field(ge=0, le=5000)] = 0

    def __post_init__(self) -> None:
        if 0 < self.latency_target < LEAST_TARGET:
            raise SettingsError(
                f"latency_target is {self.latency_target}; give {LEAST_TARGET} to 5000 ms, or 0 for no governor."
            )
        if self.canny_low > self.canny_high:
            raise SettingsError(
                f"canny_low ({self.canny_low}) is above canny_high ({self.canny_high}); give low ≤ high."
            )
        if self.control == "none" and self.extra_controls:
            raise SettingsError("extra_controls need a control to be added to; set control to one of them first.")
        if self.control in self.extra_controls:
            raise SettingsError(f"{self.control} is the control already; leave it out of extra_controls.")

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The condition maps that this picture needs: ``control`` first, then the extra ones by name. May be empty."""
        first = () if self.control == "none" else (self.control,)
        return (*first, *sorted(self.extra_controls))

    @property
    def scales(self) -> tuple[float, ...]:
        """The conditioning scale of each of ``kinds``."""
        return tuple(self.conditioning_scale if k == self.control else self.extra_controls[k] for k in self.kinds)

    def replace(self, patch: Mapping[str, Any] | None = None, /, **changes: Any) -> Settings:
        """A copy with some values changed. Raises SettingsError, naming the value, its range and what was given."""
        return parse_settings({**dataclasses.asdict(self), **(patch or {}), **changes})

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dataclasses.asdict(self)


_ADAPTER = TypeAdapter(Settings)


def parse_settings(values: Mapping[str, Any]) -> Settings:
    """Validate a mapping. Raises SettingsError with one sentence for the first value that doesn't fit."""
    try:
        return _ADAPTER.validate_python(dict(values))
    except ValidationError as error:
        raise SettingsError(_sentence(error)) from None


def _sentence(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    name = ".".join(str(part) for part in first["loc"]) or "settings"
    if first["type"] in {"unexpected_keyword_argument", "extra_forbidden"}:
        known = ", ".join(field.name for field in dataclasses.fields(Settings))
        return f"There is no setting {name!r}, only {known}."
    given = repr(first.get("input"))
    shown = given if len(given) <= 60 else given[:57] + "..."
    return f"{name} is {shown}: {first['msg'][0].lower()}{first['msg'][1:]}."
