"""Session names: what may be one, and fresh ones that nobody guesses."""

from __future__ import annotations

import re
import secrets

from streaming.errors import BadRequest

_FIRST = ("amber", "bold", "calm", "dawn", "fern", "gold", "jade", "lunar", "misty", "quick", "ruby", "swift")
_SECOND = ("crane", "finch", "fox", "heron", "koi", "lynx", "mole", "newt", "otter", "owl", "seal", "wren")


def fresh_name() -> str:
    """Two words to tell sessions apart by eye and 48 random bits, as whoever knows the name can watch."""
    return f"{secrets.choice(_FIRST)}-{secrets.choice(_SECOND)}-{secrets.token_hex(6)}"


def check_name(name: str) -> str:
    """The name itself. Raises BadRequest when it can't be part of a URL path as it is."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise BadRequest("A session name has 1 to 64 letters, digits, hyphens or underscores; choose another one.")
    return name
