from __future__ import annotations

import pytest

from realtime.clock import PercentileWindow, RateMeter, milliseconds_since


class Hands:
    """A clock that a test turns."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_percentiles_are_values_that_occurred() -> None:
    window = PercentileWindow()
    assert window.percentile(50) is None
    for value in range(1, 101):
        window.add(value)
    assert (window.percentile(50), window.percentile(95), window.percentile(100)) == (50, 95, 100)


def test_a_single_value_is_every_percentile() -> None:
    window = PercentileWindow()
    window.add(3.5)
    assert window.percentile(1) == window.percentile(95) == 3.5


def test_old_values_fall_out_of_the_window() -> None:
    clock = Hands()
    window = PercentileWindow(seconds=10, clock=clock)
    window.add(1000.0)
    clock.now += 10.5
    window.add(1.0)
    assert window.percentile(95) == 1.0
    clock.now += 10.5
    assert window.percentile(95) is None


@pytest.mark.parametrize("seconds", [0.5, 5.0])
def test_the_rate_is_right_from_the_first_second_on(seconds: float) -> None:
    clock = Hands()
    meter = RateMeter(seconds=2.0, clock=clock)
    assert meter.rate() == 0.0
    meter.tick()
    for _ in range(round(seconds * 30)):
        clock.now += 1 / 30
        meter.tick()
    assert meter.rate() == pytest.approx(30, abs=0.6)


def test_the_rate_of_what_has_stopped_falls_to_zero() -> None:
    clock = Hands()
    meter = RateMeter(seconds=2.0, clock=clock)
    for _ in range(60):
        clock.now += 1 / 30
        meter.tick()
    clock.now += 1.0
    assert meter.rate() == pytest.approx(15, abs=1)
    clock.now += 2.0
    assert meter.rate() == 0.0


def test_milliseconds_since_a_moment_in_the_past(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.monotonic_ns", lambda: 5_000_000)
    assert milliseconds_since(2_500_000) == 2.5
