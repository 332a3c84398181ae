"""Settings: what a picture looks like. Frozen, validated, changed only by ``replace``, read once a frame."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from pipelines.errors import SettingsError

Threshold = Annotated[int, Field(ge=0, le=1000)]
Control = Literal["canny"]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", strict=False, allow_inf_nan=False))
class Settings:
    """One immutable snapshot of the choices behind a picture.

    ``prompt``: at most 500 characters. ``seed``: 0..2³²-1, picks the starting noise, the same for every frame, so that
    a still picture stays still. ``conditioning_scale``: 0..2, how strongly the ControlNet holds the picture to its
    condition map. ``canny_low`` and ``canny_high``: 0..1000, cv2.Canny's hysteresis thresholds, low ≤ high.
    """

    prompt: Annotated[str, Field(max_length=500)] = ""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    conditioning_scale: Annotated[float, Field(ge=0.0, le=2.0)] = 1.0
    control: Control = "canny"
    canny_low: Threshold = 100
    canny_high: Threshold = 200

    def __post_init__(self) -> None:
        if self.canny_low > self.canny_high:
            raise SettingsError(
                f"canny_low ({self.canny_low}) is above canny_high ({self.canny_high}); give low ≤ high."
            )

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
        return f"There is no setting {name!r}; the settings are {known}."
    given = repr(first.get("input"))
    shown = given if len(given) <= 60 else given[:57] + "..."
    return f"{name} is {shown}: {first['msg'][0].lower()}{first['msg'][1:]}."
