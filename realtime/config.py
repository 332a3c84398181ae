"""What ``sdxs-live serve`` is told: validated once, then passed around unchanged."""

from __future__ import annotations

import ipaddress
import re
import secrets
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from realtime.errors import BadInput

Backend = Literal["auto", "eager", "compiled", "compiled-quick", "openvino", "openvino-int8"]
Dtype = Literal["auto", "fp16", "bf16", "fp32"]
Control = Literal["none", "canny", "sketch", "depth"]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ServeConfig:
    """Options of the server, as the command line names them.

    ``model``: a preset's name, a directory or a repository. ``control``: the kind a session starts with; None for the
    model's own. ``size``: (height, width) of the pictures; None for the model's own. ``dtype``, ``controlnets``,
    ``loras`` and ``vae``: see ``realtime.model.load``. ``source``: what ``streaming.source.open_source`` takes; then
    the session ``live`` is made from it. ``port``: 0 for any free one. ``token``: None is for a loopback address only
    (see ``make``). ``fps``: the frame rate that each session is promised; None for what suits the device.
    ``max_sessions``: no more than these, however quick the model is. ``copy_stamp``: take the measuring stamp of the
    input over into the output. ``verify``: check at the start that the backend paints what eager paints.
    """

    model: str = "embedded"
    control: Control | None = None
    size: tuple[int, int] | None = None
    dtype: Dtype = "auto"
    controlnets: tuple[str, ...] = ()
    loras: tuple[str, ...] = ()
    vae: str | None = None
    source: str | None = None
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    device: str = "auto"
    backend: Backend = "auto"
    verify: bool = False
    token: Annotated[str, Field(min_length=1, pattern=r"^[A-Za-z0-9._~-]+$")] | None = None
    fps: Annotated[float, Field(ge=1, le=120)] | None = None
    max_sessions: Annotated[int, Field(ge=1, le=1000)] = 32
    copy_stamp: bool = False
    tls_cert: Path | None = None
    tls_key: Path | None = None
    allow_origins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise BadInput("HTTPS takes both --tls-cert and --tls-key; give the other one too.")
        for origin in self.allow_origins:
            if not re.fullmatch(r"https?://[^/\s]+", origin):
                raise BadInput(f"--allow-origin {origin!r} is no origin; it looks like https://example.org, no path.")

    @property
    def scheme(self) -> str:
        return "https" if self.tls_cert else "http"

    @property
    def on_loopback(self) -> bool:
        return is_loopback(self.host)


_ADAPTER = TypeAdapter(ServeConfig)


def make(**options: object) -> ServeConfig:
    """A valid configuration; off loopback one without a token gets a fresh one.

    Raises BadInput with one sentence for the first option that doesn't fit.
    """
    try:
        config = _ADAPTER.validate_python(options)
        if config.token is None and not config.on_loopback:
            config = _ADAPTER.validate_python({**options, "token": secrets.token_urlsafe(16)})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        option = str(first["loc"][0]).replace("_", "-")
        if first["type"] == "string_pattern_mismatch":
            raise BadInput(
                f"--{option} may hold letters, digits and . _ ~ - only, as it goes into addresses."
            ) from None
        raise BadInput(f"--{option} {first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}.") from None
    return config


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens on ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
