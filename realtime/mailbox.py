"""Mailbox: one slot between two threads. The newest item wins, and what it displaces is counted."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """A slot for one item. Every method may be called from any thread; ``put`` never waits for a reader."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._item: T | None = None
        self._dropped = 0
        self._closed = False

    @property
    def dropped(self) -> int:
        """How many items nobody took: displaced by a newer one, left over at ``close``, or put after it."""
        return self._dropped

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def waiting(self) -> bool:
        """Whether an item waits to be taken."""
        return self._item is not None

    def put(self, item: T) -> bool:
        """Leave ``item`` as the newest. True when one was lost by it: the one that waited or, after ``close``, this."""
        with self._changed:
            lost = self._closed or self._item is not None
            self._dropped += lost
            if not self._closed:
                self._item = item
                self._changed.notify()
            return lost

    def take(self, timeout: float | None = None) -> T | None:
        """Wait for an item and take it. None after ``timeout`` seconds without one, or as soon as the box is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self._closed, timeout)
            return self._empty()

    def take_now(self) -> T | None:
        """Take the item that waits, if there is one."""
        with self._changed:
            return self._empty()

    def close(self) -> bool:
        """Drop what waits, wake all readers, refuse further items. True when an item was lost. May be called twice."""
        with self._changed:
            lost = self._empty() is not None
            self._dropped += lost
            self._closed = True
            self._changed.notify_all()
            return lost

    def _empty(self) -> T | None:
        item, self._item = self._item, None
        return item
