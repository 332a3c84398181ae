"""The pages keep up with the code: every setting is told, every link leads somewhere."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from pipelines.settings import Settings

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_every_setting_is_told_with_its_default() -> None:
    rows = [line for line in (ROOT / "docs" / "settings.md").read_text(encoding="utf-8").splitlines() if "|" in line]
    told = {name: line for line in rows for name in re.findall(r"`(\w+)`", line.split("|")[1])}
    fields = {field.name for field in dataclasses.fields(Settings)}
    assert set(told) == fields
    defaults = Settings()
    for name in ("canny_low", "canny_high", "depth_every", "depth_smoothing", "walk_seconds", "sketch_detector"):
        assert str(getattr(defaults, name)).removesuffix(".0") in told[name], name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name}: {target}"
