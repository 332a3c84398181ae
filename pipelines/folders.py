"""Where this tool keeps files: what can be made again, and the models that were fetched."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """``$SDXS_CACHE``, otherwise ``sdxs-live`` in the user's cache folder."""
    own = os.environ.get("SDXS_CACHE")
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sdxs-live"


def models_folder() -> Path:
    """``$SDXS_MODELS``, otherwise ``models`` in the cache folder. A repository OWNER/NAME is the plain folder
    OWNER/NAME in it, to be copied to another machine as it is.
    """
    own = os.environ.get("SDXS_MODELS")
    return Path(own).expanduser() if own else cache_folder() / "models"
