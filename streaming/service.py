"""What the WebRTC and HTTP side asks of the rest. ``realtime`` implements these Protocols; tests here use small fakes.

The server owns connections; a session owns one user's pictures and settings. Neither knows the other's classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from streaming.frame import Frame

#: Call it to stop listening. Calling it twice is harmless.
Unsubscribe = Callable[[], None]
Json = dict[str, Any]


class LiveSession(Protocol):
    """One user: pictures in, painted pictures out, settings. Call it on the event loop unless said otherwise."""

    @property
    def name(self) -> str: ...

    def push(self, frame: Frame) -> None:
        """Offer a camera picture; the newest wins, an older one that still waits is dropped. Any thread."""

    def draw(self, picture: NDArray[np.uint8]) -> Json:
        """Take uint8 H×W×3 RGB, black strokes on white, as the new drawing of a session that has no camera.

        Answers ``{"id": int}``; the event ``visible`` follows. Raises ``streaming.errors.NotADrawing`` (409) where a
        camera is the source.
        """

    def subscribe(self, deliver: Callable[[Frame], None]) -> Unsubscribe:
        """``deliver(painted)`` is called on the event loop for each painted frame; it must not block. A viewer."""

    def listen(self, tell: Callable[[Json], None]) -> Unsubscribe:
        """``tell(event)`` is called on the event loop for each event.

        Events: ``{"type": "visible", "id", "seq"}``, ``{"type": "stats", ...the status row}`` twice a second,
        ``{"type": "error", "detail"}`` when a change that was taken turns out to be impossible (the weights of a map's
        network can't be had), and the settings from before go on, and ``{"type": "ended", "reason"}``.
        """

    def settings(self) -> Json:
        """The settings in force, as JSON values."""

    def change(self, patch: object) -> Json:
        """Apply a subset of the settings, answer ``{"id": int, "settings": {...}}``.

        Raises ``streaming.errors.BadRequest`` with one clear sentence, and then changes nothing.
        """

    def status(self) -> Json:
        """A row of ``GET /api/sessions``.

        ``{name, mode, state, fps_in, fps_out, frames_in, frames_out, frames_dropped, frames_skipped, latency_ms: {p50,
        p95}, model_ms, condition_age_ms, governor, viewers, settings}``. ``mode`` is ``camera``, ``draw`` or
        ``imagine``; ``frames_skipped`` looked like the last painted one; ``condition_age_ms`` is how much older than
        its frame the last condition map was, None where each frame has its own; ``governor`` is ``{level, of, doing}``
        (``doing`` in words: "painting at half size"), None while there is none.
        """


class SessionHub(Protocol):
    """All sessions of this process. Methods are called on the event loop."""

    def ready(self) -> str | None:
        """None once a session can be admitted, otherwise a sentence that says what is being waited for."""

    def about(self) -> Json:
        """What runs.

        ``{model, note, backend, device, dtype, size: [height, width], controls, loras, styles, defaults}``. ``note`` is
        what those who paint from text alone should know, often nothing.
        ``controls`` are kinds of maps (``canny``, ``sketch``, ``depth``), perhaps none; text alone always works.
        ``loras`` are names; ``styles`` is a list of ``{name, prompt}``; ``defaults`` the settings of a new session.
        """

    def open(self, name: str | None, *, mode: str = "camera", settings: object = None) -> LiveSession:
        """A new session, with a settings patch if one is given.

        ``mode``: ``camera`` is fed by ``push``; ``draw`` paints the drawing that ``draw`` gives it and ``imagine``
        paints from text alone: those two feed themselves, and end when nobody has watched for a while. Raises NameTaken
        (409), NoFreePlace (503) or BadRequest (a name, mode or setting that doesn't fit, and then nothing is opened).
        """

    def get(self, name: str) -> LiveSession:
        """Raises NoSuchSession."""

    def sessions(self) -> Sequence[LiveSession]: ...

    def close(self, name: str, *, reason: str) -> None:
        """End a session and tell its listeners why. Closing one that is gone does nothing."""

    def metrics(self) -> tuple[bytes, str]:
        """The Prometheus page and its content type."""


#: Settings as they arrive in JSON: any subset of the names that ``LiveSession.settings`` gives.
SettingsPatch = Mapping[str, Any]
