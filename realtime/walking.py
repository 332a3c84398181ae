"""Walking: how far a session's walk has come at the moment of a frame."""

from __future__ import annotations

from pipelines.settings import Settings
from pipelines.walk import walk


def walks(settings: Settings) -> bool:
    """Whether the picture changes by itself: a walk is asked for, and there is somewhere to go."""
    return walk(settings, 0.0) is not settings


class Walker:
    """Derives the settings of each frame from the time at which it was captured, so that a slow model skips ahead.

    A walk begins with the first frame that has it, and anew when the walk itself, a prompt or the seed changes. Another
    ``walk_seconds`` changes the pace from here on. Frames come one at a time, from any thread.
    """

    def __init__(self) -> None:
        self._way: object = None
        self._legs = 0.0
        self._at_ns = 0

    def __call__(self, settings: Settings, captured_ns: int) -> Settings:
        """``captured_ns``: ``time.monotonic_ns()`` of the frame. The same object when nothing walks."""
        if not walks(settings):
            self._way = None
            return settings
        way = (settings.walk, settings.prompt, settings.prompt_b, settings.seed)
        if way != self._way:
            self._way, self._legs, self._at_ns = way, 0.0, captured_ns
        passed = max(0, captured_ns - self._at_ns) / 1e9
        self._legs += passed / settings.walk_seconds
        self._at_ns = max(self._at_ns, captured_ns)
        return walk(settings, self._legs * settings.walk_seconds)
