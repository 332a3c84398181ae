from __future__ import annotations

import dataclasses

import pytest

from pipelines import Settings, SettingsError
from pipelines.settings import parse_settings


def test_replace_makes_another_snapshot() -> None:
    first = Settings(prompt="ink")
    second = first.replace({"seed": 3}, prompt="neon")
    assert (first.prompt, first.seed) == ("ink", 0)
    assert (second.prompt, second.seed) == ("neon", 3)
    with pytest.raises(dataclasses.FrozenInstanceError):
        first.prompt = "x"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("patch", "words"),
    [
        ({"conditioning_scale": 2.1}, ["conditioning_scale", "2.1", "less than or equal to 2"]),
        ({"conditioning_scale": float("nan")}, ["conditioning_scale", "finite"]),
        ({"conditioning_scale": "strong"}, ["conditioning_scale", "number"]),
        ({"seed": -1}, ["seed", "-1"]),
        ({"seed": 2**32}, ["seed"]),
        ({"seed": 1.5}, ["seed"]),
        ({"prompt": "x" * 501}, ["prompt", "500"]),
        ({"prompt": None}, ["prompt"]),
        ({"control": "telepathy"}, ["control", "telepathy", "canny"]),
        ({"canny_low": 300}, ["canny_low (300)", "canny_high (200)"]),
        ({"canny_high": 5000}, ["canny_high"]),
        ({"steadiness": 1.1}, ["steadiness", "less than or equal to 1"]),
        ({"steadiness": -0.1}, ["steadiness", "greater than or equal to 0"]),
        ({"skip_similar": -0.1}, ["skip_similar", "greater than or equal to 0"]),
        ({"skip_similar": 50.5}, ["skip_similar", "less than or equal to 50"]),
        ({"latency_target": 49}, ["latency_target is 49", "50 to 5000 ms", "0 for no governor"]),
        ({"latency_target": 5001}, ["latency_target", "5000"]),
        ({"latency_target": 99.5}, ["latency_target", "integer"]),
        ({"strenght": 1}, ["no setting 'strenght'", "conditioning_scale"]),
    ],
)
def test_out_of_range_is_one_sentence(patch: dict, words: list[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings().replace(patch)
    sentence = str(caught.value)
    assert all(word in sentence for word in words), sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert len(sentence) < 350


def test_round_trip() -> None:
    settings = Settings(prompt="chalk", seed=7, conditioning_scale=0.5, steadiness=0.25, skip_similar=3.5)
    assert parse_settings(settings.as_dict()) == settings
