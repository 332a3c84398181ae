"""The embedded model's card says what ``sdxs-live eval`` measured, and its pictures fit where they are shown."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from pipelines.training.evaluation.bench import Wanted
from pipelines.training.evaluation.measure import measure
from pipelines.training.evaluation.painter import Painter
from tests.pipelines.training.filter_painter import FilterPainter
from tests.realtime.test_bench_loop import script

card = script("docs/make_card.py")
pictures = script("docs/make_embedded.py")


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    """Of a painter in two styles, by the metrics themselves."""
    painter = cast(Painter, FilterPainter(names=("lines", "negative")))
    metrics = ["edge-skill", "styles", "seeds", "strengths", "colours", "warp", "blends"]
    scores = measure(painter, metrics, Wanted(count=3, seeds=2, styles="all"))
    lines = json.loads(json.dumps([dataclasses.asdict(score) for score in scores]))
    return {"command": "sdxs-live eval filters", "date": "2026-01-01", "commit": "abc", "scores": lines}


def test_the_card_is_that_of_the_json() -> None:
    text = card.CARD.read_text(encoding="utf-8")
    assert card.render(text) == text, "write it anew: python docs/make_card.py"


def test_every_block_is_filled_with_what_was_measured(report: dict[str, Any], tmp_path: Path) -> None:
    page = "".join(f"<!-- eval:{name} -->\nstale\n<!-- /eval -->\n" for name in card.BLOCKS)
    assert card.render(page, tmp_path).count("Not measured yet.") == len(card.BLOCKS)
    for name in ("embedded", "before", "coloured", "sketch", "blends", "teacher", "by-teacher"):
        (tmp_path / f"{name}.json").write_text(json.dumps(report), encoding="utf-8")
    made = card.render(page, tmp_path)
    assert card.render(made, tmp_path) == made
    assert "stale" not in made
    assert "Not measured yet." not in made
    skill = next(each for each in report["scores"] if each["metric"] == "edge-skill" and not each["part"])["value"]
    assert f"| edge skill, mean over styles, strength 0.8 | 0.45 | 0.6 | {skill:.2f} | {skill:.2f} |" in made
    assert f"| edge skill | {skill:.2f} | {skill:.2f} | 100 % |" in made
    worst = next(each for each in report["scores"] if (each["metric"], each["part"]) == ("blend-skill", "worst"))
    assert f"| the same, where on the way between two it is kept least |  |  | {worst['value']:.2f} |  |" in made
    assert made.count("| lines |") == made.count("| negative |") == 1
    assert "`sdxs-live eval filters`" in made


def test_a_block_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(KeyError, match="beauty"):
        card.render("<!-- eval:beauty -->\n<!-- /eval -->\n")


def test_the_pictures_are_labelled_and_small_enough(tmp_path: Path) -> None:
    noisy = np.random.default_rng(0).integers(0, 256, (256, 256, 3)).astype(np.uint8)
    tiles = [pictures.tile(noisy, 200, "ink"), pictures.tile(noisy, 200, " ")]
    assert tiles[0].shape == tiles[1].shape
    assert tiles[0][: pictures.LABEL].min() < 100 < tiles[1][: pictures.LABEL].min()
    pictures.save(tmp_path / "sheet.jpg", pictures.grid([tiles * 4] * 4))
    assert 200_000 < (tmp_path / "sheet.jpg").stat().st_size < 400_000
    frames = pictures.moving(128)
    assert len(frames) == 8
    assert all(np.abs(one.astype(int) - other).mean() > 2 for one, other in itertools.pairwise(frames))
