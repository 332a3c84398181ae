"""What runs when that is left to the program."""

from __future__ import annotations

import pytest
import torch

from realtime.choose import backend_for_one


def test_one_picture_is_not_compiled_for_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert backend_for_one("auto", device="auto") == "eager"
    assert backend_for_one("compiled", device="auto") == "compiled", "who asks for it gets it"
    assert backend_for_one("auto", device="cpu") == "auto"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert backend_for_one("auto", device="auto") == "auto"
