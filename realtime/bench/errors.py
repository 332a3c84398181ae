"""What keeps a benchmark from running here."""

from __future__ import annotations

import importlib.util

from realtime.errors import Failure


class CantRun(Failure):
    """This machine lacks what the benchmark needs; the message says what, and how to get it."""


def need(*modules: str) -> None:
    """Raises CantRun for packages that are not installed, by the names that pip knows them by."""
    missing = [name for name in modules if not is_here(name)]
    if missing:
        raise CantRun(f"{', '.join(missing)} can't be imported here; pip install 'sdxs-live[bench]' brings it.")


def is_here(name: str) -> bool:
    """Whether a package of that name can be imported; it isn't."""
    try:
        return importlib.util.find_spec(name.replace("-", "_")) is not None
    except (ImportError, ValueError):
        return False
