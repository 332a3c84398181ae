"""A hub whose sessions paint by inverting, with the stamp's row copied unpainted: what the server needs, no model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from streaming import stamp
from streaming.errors import BadRequest, NameTaken, NoFreePlace, NoSuchSession, NotADrawing
from streaming.frame import Frame
from streaming.service import Json, Unsubscribe


class FakeSession:
    mode = "camera"

    def __init__(self, name: str) -> None:
        self.name = name
        self.drawings: list[NDArray[np.uint8]] = []
        self.values: Json = {"prompt": "", "seed": 0}
        self.pushed: list[Frame] = []
        self.painted = 0
        self.viewers: list[Callable[[Frame], None]] = []
        self.listeners: list[Callable[[Json], None]] = []
        self.change_count = 0
        self.broken = False
        self._loop = asyncio.get_running_loop()

    def push(self, frame: Frame) -> None:
        if self.broken:
            raise RuntimeError("a bug in the session")
        self.pushed.append(frame)
        image = 255 - frame.image
        stamp.copy(frame.image, image)
        self._loop.call_soon_threadsafe(self.deliver, frame.replace_image(np.ascontiguousarray(image)))

    def draw(self, picture: NDArray[np.uint8]) -> Json:
        if self.mode == "camera":
            raise NotADrawing(f"Session {self.name!r} has a camera.")
        self.drawings.append(picture)
        self.change_count += 1
        return {"id": self.change_count}

    def deliver(self, frame: Frame) -> None:
        self.painted += 1
        for viewer in list(self.viewers):
            viewer(frame)

    def subscribe(self, deliver: Callable[[Frame], None]) -> Unsubscribe:
        self.viewers.append(deliver)
        return lambda: self.viewers.remove(deliver) if deliver in self.viewers else None

    def listen(self, tell: Callable[[Json], None]) -> Unsubscribe:
        self.listeners.append(tell)
        return lambda: self.listeners.remove(tell) if tell in self.listeners else None

    def tell(self, event: Json) -> None:
        for listener in list(self.listeners):
            listener(event)

    def settings(self) -> Json:
        return dict(self.values)

    def change(self, patch: object) -> Json:
        if not isinstance(patch, dict):
            raise BadRequest("Send an object with the settings to change.")
        unknown = set(patch) - set(self.values)
        if unknown:
            raise BadRequest(f"There is no setting {unknown.pop()!r}.")
        if patch.get("prompt") == "crash":
            raise RuntimeError("a bug in the session")
        self.values.update(patch)
        self.change_count += 1
        return {"id": self.change_count, "settings": self.settings()}

    def status(self) -> Json:
        return {"name": self.name, "mode": self.mode, "frames_in": len(self.pushed), "viewers": len(self.viewers)}


class FakeHub:
    def __init__(self, places: int = 10) -> None:
        self.places = places
        self.waiting: str | None = None
        self.live: dict[str, FakeSession] = {}
        self.ended: list[tuple[str, str]] = []

    def ready(self) -> str | None:
        return self.waiting

    def about(self) -> Json:
        return {"model": "inverting", "size": [256, 256]}

    def open(self, name: str | None, *, mode: str = "camera", settings: object = None) -> FakeSession:
        name = name if name is not None else f"fresh-{len(self.live) + len(self.ended)}"
        if name in self.live:
            raise NameTaken(f"A session named {name!r} is live; take another name.")
        if len(self.live) >= self.places:
            raise NoFreePlace("All places are taken; try again in a moment.", retry_after=7)
        session = FakeSession(name)
        session.mode = mode
        if settings is not None:
            session.change(settings)
        self.live[name] = session
        return session

    def get(self, name: str) -> FakeSession:
        if name not in self.live:
            raise NoSuchSession(f"There is no session {name!r}.")
        return self.live[name]

    def sessions(self) -> list[FakeSession]:
        return list(self.live.values())

    def close(self, name: str, *, reason: str) -> None:
        session = self.live.pop(name, None)
        if session is not None:
            self.ended.append((name, reason))
            session.tell({"type": "ended", "reason": reason})

    def metrics(self) -> tuple[bytes, str]:
        return b"sdxs_sessions 0\n", "text/plain; version=0.0.4; charset=utf-8"
