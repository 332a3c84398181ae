"""Where pictures come from: a camera, a file or a test pattern, behind one Source protocol."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Protocol

from streaming.errors import SourceError
from streaming.frame import Frame

_CAMERA = re.compile(r"(?:camera:)?(\d+)|(/dev/video\d+)")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+:")


class Source(Protocol):
    """Read by one thread. ``close`` may come from another, at any time and twice; a waiting ``read`` then returns."""

    @property
    def name(self) -> str:
        """For messages: what this is."""

    def read(self) -> Frame | None:
        """Wait for the next picture; None at the end. ``seq`` counts from 0 and ``pts`` rises, over loops too.

        Raises SourceError if the source stops giving pictures before its end.
        """

    def close(self) -> None:
        """Let go of the device or file."""


def open_source(url: str, *, pace: bool = True, loop: bool = True) -> Source:
    """The source that ``url`` names: ``camera:0``, ``0`` or ``/dev/video0``; a file; ``test:`` or ``test:stamp``.

    A file is given out at the speed of its own timestamps and begins again at its end; ``pace=False, loop=False``
    gives every picture of it once, as fast as it is read. ``pace`` counts for the test pattern too. Raises SourceError.
    """
    # The libraries behind a source are loaded when it is asked for.
    if match := _CAMERA.fullmatch(url):
        from streaming.source_camera import CameraSource

        return CameraSource(int(match[1]) if match[1] else match[2])
    if url in ("test:", "test:stamp"):
        from streaming.source_pattern import PatternSource

        return PatternSource(stamped=url == "test:stamp", pace=pace)
    if _SCHEME.match(url) and not Path(url).exists():
        raise SourceError(f"There is no source {url!r}; give camera:0, /dev/video0, a video file's path, or test:.")
    from streaming.source_file import FileSource

    return FileSource(Path(url), pace=pace, loop=loop)
