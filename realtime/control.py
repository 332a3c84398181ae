"""A JSON message becomes a Settings change, or one sentence that says why it can't."""

from __future__ import annotations

from collections.abc import Collection

from pipelines.errors import SettingsError
from pipelines.settings import Settings
from streaming.errors import BadRequest


def apply_patch(current: Settings, patch: object, *, controls: Collection[str]) -> Settings:
    """``current`` with the values of ``patch`` (any subset of the settings, as JSON gives them).

    Raises BadRequest when ``patch`` is no JSON object, names an unknown setting, leaves a range, or asks for a control
    that the loaded model has no ControlNet for.
    """
    if not isinstance(patch, dict):
        raise BadRequest(f'Settings are a JSON object such as {{"prompt": "ink"}}, not {_kind(patch)}.')
    try:
        changed = current.replace(patch)
    except SettingsError as error:
        raise BadRequest(str(error)) from None
    if changed.control not in controls:
        raise BadRequest(f"This model has no control {changed.control!r}; it has {', '.join(sorted(controls))}.")
    return changed


def _kind(value: object) -> str:
    if value is None:
        return "null"
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list"}
    return names.get(type(value), f"a {type(value).__name__}")
