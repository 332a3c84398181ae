"""The governor alone, over a simulated device: its latency depends on the level, on the load, and on luck."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from realtime.governor import LONGEST_WAIT, Governor

TARGET = 150
STEPS = 5
#: How much of the full work each level does.
WORK = (1.0, 0.85, 0.6, 0.4, 0.2, 0.13)

Load = Callable[[float], float]


class Simulation:
    """A session at ``fps`` whose pictures take ``load(seconds)`` ms times the level's work, give or take ``noise``."""

    def __init__(self, load: Load, *, fps: float = 20.0, noise: float = 0.05, target: int = TARGET, seed: int = 1):
        self.now = 0.0
        self.governor = Governor(clock=lambda: self.now)
        self.governor.aim(target, STEPS)
        self.levels = [(0.0, 0)]
        self.latencies: list[tuple[float, float]] = []
        self._load = load
        self._period = 1 / fps
        self._noise = noise
        self._luck = random.Random(seed)

    def run(self, seconds: float) -> Simulation:
        """Pictures are delivered in the order in which they were taken, each its latency after that."""
        end, taken_at, busy_until = self.now + seconds, self.now, 0.0
        while taken_at < end:
            luck = 1 + self._luck.uniform(-self._noise, self._noise)
            latency = self._load(taken_at) * WORK[self.governor.level] * luck
            self.now = busy_until = max(taken_at + latency / 1e3, busy_until)
            self.governor.delivered((self.now - taken_at) * 1e3)
            self.latencies.append((taken_at, (self.now - taken_at) * 1e3))
            if self.levels[-1][1] != self.governor.level:
                self.levels.append((self.now, self.governor.level))
            taken_at = max(taken_at + self._period, self.now - 2 * self._period)
        self.now = max(self.now, end)
        return self

    def changes(self, since: float = 0.0) -> int:
        return sum(at >= since for at, _ in self.levels[1:])

    def share_over_target(self, since: float, until: float) -> float:
        seen = [latency > TARGET for at, latency in self.latencies if since <= at < until]
        return sum(seen) / len(seen)


def steady(latency: float) -> Load:
    return lambda _: latency


def test_with_room_enough_nothing_changes() -> None:
    assert Simulation(steady(100)).run(300).changes() == 0


@pytest.mark.parametrize(("latency", "level"), [(160, 1), (230, 2), (350, 3), (700, 4), (1050, 5)])
def test_a_load_is_met_by_the_first_level_that_keeps_the_target(latency: float, level: int) -> None:
    simulation = Simulation(steady(latency)).run(60)
    assert [at_level for _, at_level in simulation.levels][: level + 1] == list(range(level + 1)), "step by step"
    assert simulation.levels[level][0] < 20, "within seconds, even with one picture a second"
    assert max(at_level for _, at_level in simulation.levels) == level


def test_a_load_beyond_the_last_level_stays_there() -> None:
    simulation = Simulation(steady(5000)).run(200)
    assert simulation.governor.level == STEPS
    assert simulation.changes() == STEPS


def test_it_comes_back_to_full_soon_after_the_load_goes() -> None:
    simulation = Simulation(lambda now: 700 if 20 <= now < 80 else 90).run(79)
    assert simulation.governor.level == 4
    simulation.run(1 + 30)
    assert simulation.governor.level == 0


@pytest.mark.parametrize("latency", [155, 180, 210, 260, 300, 380, 500, 740])
@pytest.mark.parametrize("noise", [0.02, 0.1, 0.25])
def test_a_load_between_two_levels_makes_no_swinging(latency: float, noise: float) -> None:
    """The one level is too slow, the next one has room: a try now and then is all that may be."""
    simulation = Simulation(steady(latency), noise=noise).run(1200)
    tries = 6 + 1200 / LONGEST_WAIT  # 3, 6, 12 ... seconds apart, and then the longest wait
    assert simulation.changes() <= STEPS + 2 * tries
    assert simulation.changes(since=600) <= 2 * (600 / LONGEST_WAIT + 2)
    assert simulation.share_over_target(600, 1200) < 0.06


@pytest.mark.parametrize("noise", [0.02, 0.25])
def test_after_long_failing_the_way_back_is_short_all_the_same(noise: float) -> None:
    """What was learnt under load isn't held against a machine that is free again."""
    simulation = Simulation(lambda now: 380 if now < 600 else 80, noise=noise).run(600)
    assert simulation.governor.level >= 2
    simulation.run(30)
    assert simulation.governor.level == 0
    assert simulation.run(600).changes(since=640) == 0


def test_a_load_that_comes_and_goes_is_followed() -> None:
    simulation = Simulation(lambda now: 350 if now % 120 < 60 else 80).run(59)
    for minute in range(1, 20):
        levels = (0,) if minute % 2 == 0 else (2, 3)  # 2: a try now and then
        assert simulation.governor.level in levels, minute
        simulation.run(60 * minute + 59 - simulation.now)


def test_savings_that_save_nothing_are_not_kept_for_ever() -> None:
    """At every level the latency is just under the target: perhaps there is room, and there is."""

    def busy_once(now: float) -> float:
        return 200 if now < 3 else 140 / WORK[simulation.governor.level]

    simulation = Simulation(busy_once, noise=0.01)
    simulation.run(5)
    assert simulation.governor.level > 0
    assert simulation.run(120).governor.level == 0


def test_one_late_picture_is_no_reason() -> None:
    simulation = Simulation(steady(80))
    for _ in range(60):
        simulation.run(1)
        simulation.governor.delivered(900)
    assert simulation.changes() == 0


def test_pictures_that_are_rare_are_judged_too() -> None:
    simulation = Simulation(steady(3000), fps=0.5).run(60)
    assert simulation.governor.level == STEPS


def test_pictures_from_before_a_step_say_nothing_about_it() -> None:
    now = 0.0
    governor = Governor(clock=lambda: now)
    governor.aim(TARGET, STEPS)
    for _ in range(30):
        now += 0.05
        governor.delivered(160)
    assert governor.level == 1
    now += 2.0
    for _ in range(100):  # all of them were taken before the step
        governor.delivered(10_000)
    assert governor.level == 1


def test_off_is_level_0_at_once_and_on_again_begins_anew() -> None:
    simulation = Simulation(steady(700)).run(10)
    assert simulation.governor.level == 4
    simulation.governor.aim(0, STEPS)
    assert (simulation.governor.level, simulation.governor.target) == (0, 0)
    simulation.run(10)
    assert simulation.governor.level == 0
    simulation.governor.aim(800, STEPS)
    assert simulation.run(10).governor.level == 0
    simulation.governor.aim(TARGET, STEPS)
    assert simulation.run(10).governor.level == 4


def test_fewer_levels_than_before_take_it_to_the_last_one() -> None:
    simulation = Simulation(steady(5000)).run(60)
    simulation.governor.aim(TARGET, 2)
    assert simulation.governor.level == 2
    simulation.run(20)
    assert simulation.governor.level == 2
