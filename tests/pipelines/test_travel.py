"""Walking on the sphere: between seeds and between prompts, and what a moment of an endless walk is made of."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from pipelines.noise import NoiseBank
from pipelines.settings import Settings
from pipelines.travel import slerp
from pipelines.walk import walk

BANK = NoiseBank(device=torch.device("cpu"), dtype=torch.float32)


def test_slerp_is_the_textbook_arc() -> None:
    a, b = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 2.0])
    for share in (0.0, 0.25, 0.5, 1.0):
        angle = share * math.pi / 2
        assert torch.allclose(slerp(a, b, share, dim=0), 2 * torch.tensor([math.cos(angle), math.sin(angle)]))


@pytest.mark.parametrize("other", [lambda v: v, lambda v: v * (1 + 1e-7), lambda v: -v, lambda v: v * 0])
def test_slerp_of_degenerate_directions_is_finite(other: object) -> None:
    vector = torch.randn(5, 8)
    between = slerp(vector, other(vector), 0.5, dim=-1)  # type: ignore[operator]
    assert torch.isfinite(between).all()


def test_equal_vectors_stay_where_they_are() -> None:
    vector = torch.randn(5, 8)
    assert torch.allclose(slerp(vector, vector.clone(), 0.3, dim=-1), vector, atol=1e-6)


def test_noise_on_the_way_is_as_strong_as_noise() -> None:
    """A straight line would have a deviation of 0.71 in the middle, which a diffusion model paints as grey."""
    halfway = BANK.of(Settings(seed=1, seed_b=2, seed_blend=0.5), 4, 64, 64)
    assert halfway.std() == pytest.approx(1.0, abs=0.02)
    assert not torch.allclose(halfway, BANK(1, 4, 64, 64), atol=0.1)


def test_the_ends_are_the_seeds_themselves() -> None:
    assert torch.equal(BANK.of(Settings(seed=1, seed_b=2), 4, 8, 8), BANK(1, 4, 8, 8))
    assert torch.equal(BANK.of(Settings(seed=1, seed_b=2, seed_blend=1.0), 4, 8, 8), BANK(2, 4, 8, 8))


def test_a_walk_through_seeds_passes_each_in_turn_without_a_jump() -> None:
    settings = Settings(seed=7, walk="seeds", walk_seconds=2.0)
    moments = [walk(settings, seconds) for seconds in (0.0, 1.0, 2.0, 5.0)]
    assert [(m.seed, m.seed_b, m.seed_blend) for m in moments] == [(7, 8, 0.0), (7, 8, 0.5), (8, 9, 0.0), (9, 10, 0.5)]
    noises = [BANK.of(walk(settings, 1.9 + i * 0.02), 4, 16, 16) for i in range(11)]
    steps = [(a - b).abs().mean().item() for a, b in itertools.pairwise(noises)]
    assert max(steps) < 2 * min(steps)


def test_seeds_wrap_at_their_end() -> None:
    last = walk(Settings(seed=2**32 - 1, walk="seeds", walk_seconds=1.0), 0.5)
    assert (last.seed, last.seed_b) == (2**32 - 1, 0)


def test_a_walk_between_prompts_goes_there_and_back() -> None:
    settings = Settings(prompt="a", prompt_b="b", walk="prompts", walk_seconds=4.0)
    blends = [walk(settings, seconds).blend for seconds in (0, 2, 4, 6, 8)]
    assert blends == pytest.approx([0, 0.5, 1, 0.5, 0], abs=1e-9)


@pytest.mark.parametrize("settings", [Settings(prompt="a"), Settings(prompt="a", walk="prompts")])
def test_nothing_to_walk_is_the_same_object(settings: Settings) -> None:
    assert walk(settings, 3.0) is settings
