"""Listeners: callbacks of others, called so that a faulty one harms nobody but itself."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Generic, TypeVar

log = logging.getLogger(__name__)
T = TypeVar("T")


class Listeners(Generic[T]):
    """Used on the event loop only. One that raises is logged and removed."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._callbacks: dict[object, Callable[[T], None]] = {}

    def __len__(self) -> int:
        return len(self._callbacks)

    def add(self, callback: Callable[[T], None]) -> Callable[[], None]:
        """Returns the way to remove it again, which may be called twice."""
        key = object()
        self._callbacks[key] = callback

        def remove() -> None:
            self._callbacks.pop(key, None)

        return remove

    def tell(self, message: T) -> None:
        for key, callback in list(self._callbacks.items()):
            if key not in self._callbacks:  # removed by one that was called before it
                continue
            try:
                callback(message)
            except Exception:
                log.exception("A %s raised and was removed.", self._what)
                self._callbacks.pop(key, None)

    def clear(self) -> None:
        self._callbacks.clear()
