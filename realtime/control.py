"""A JSON message becomes a Settings change, or one sentence that says why it can't."""

from __future__ import annotations

from collections.abc import Collection

from pipelines.errors import SettingsError
from pipelines.settings import Settings
from streaming.errors import BadRequest


def apply_patch(
    current: Settings, patch: object, *, controls: Collection[str], loras: Collection[str] = ()
) -> Settings:
    """``current`` with the values of ``patch`` (any subset of the settings, as JSON gives them).

    Raises BadRequest when ``patch`` is no JSON object, names an unknown setting, leaves a range, or asks for a control
    that the loaded model has no ControlNet for (``none`` needs none), or for a LoRA that it wasn't given.
    """
    if not isinstance(patch, dict):
        raise BadRequest(f'Settings are a JSON object such as {{"prompt": "ink"}}, not {_kind(patch)}.')
    try:
        changed = current.replace(patch)
    except SettingsError as error:
        raise BadRequest(str(error)) from None
    for kind in changed.kinds:
        if kind not in controls:
            raise BadRequest(f"This model has no control {kind!r}; it has {', '.join((*sorted(controls), 'none'))}.")
    if changed.lora and changed.lora not in loras:
        known = f"it has {', '.join(sorted(loras))}" if loras else "it was started without any"
        raise BadRequest(f"This model has no LoRA {changed.lora!r}; {known}.")
    return changed


def _kind(value: object) -> str:
    if value is None:
        return "null"
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list"}
    return names.get(type(value), f"a {type(value).__name__}")
