"""Bitrate estimates: a quiet picture lowers nothing, a full line does."""

from __future__ import annotations

from aiortc.rate import AimdRateControl, BandwidthUsage

from streaming.rate import MAX_BITRATE, MIN_BITRATE, START_BITRATE, PatientRateControl, SenderRate

QUIET = 150_000


def ask(control: AimdRateControl, throughput: int, usage: BandwidthUsage, *, seconds: float, start: float = 0) -> int:
    """Run a control for some time, two estimates a second; the last one."""
    asked = 0
    for half in range(int(seconds * 2)):
        asked = control.update(usage, throughput, int((start + half / 2) * 1000)) or asked
    return asked


class TestReceiver:
    def test_a_quiet_picture_lowers_nothing(self) -> None:
        assert ask(AimdRateControl(), QUIET, BandwidthUsage.NORMAL, seconds=6) < 300_000, "what aiortc makes of it"
        control = PatientRateControl()
        assert ask(control, QUIET, BandwidthUsage.NORMAL, seconds=6) >= START_BITRATE

    def test_one_sign_of_overuse_while_the_line_is_not_full_lowers_it_a_little(self) -> None:
        control = PatientRateControl()
        ask(control, QUIET, BandwidthUsage.NORMAL, seconds=6)
        after = ask(control, QUIET, BandwidthUsage.OVERUSING, seconds=0.5, start=6)
        assert 0.75 * START_BITRATE < after < START_BITRATE

    def test_lasting_overuse_lowers_it_to_what_arrives(self) -> None:
        control = PatientRateControl()
        assert ask(control, 400_000, BandwidthUsage.OVERUSING, seconds=8) <= 400_000

    def test_a_full_line_is_obeyed_at_once(self) -> None:
        control = PatientRateControl()
        assert ask(control, 1_600_000, BandwidthUsage.OVERUSING, seconds=0.5) == round(0.85 * 1_600_000)

    def test_it_grows_while_the_line_carries_it_and_stays_within_bounds(self) -> None:
        control = PatientRateControl()
        assert ask(control, 20_000_000, BandwidthUsage.NORMAL, seconds=60) == MAX_BITRATE
        assert ask(control, 1000, BandwidthUsage.OVERUSING, seconds=60, start=60) == MIN_BITRATE


class TestSender:
    def send(self, rate: SenderRate, bitrate: int, *, seconds: int = 2) -> None:
        for n in range(30 * seconds):
            rate.count(n * 3000, bitrate // 8 // 30)

    def test_an_estimate_of_what_is_sent_anyway_lowers_nothing(self) -> None:
        rate = SenderRate()
        self.send(rate, QUIET)
        for estimate in (QUIET, int(0.95 * QUIET), 2 * QUIET):
            rate.ask(estimate)
            assert rate.target == START_BITRATE

    def test_an_estimate_below_what_is_sent_is_obeyed(self) -> None:
        rate = SenderRate()
        self.send(rate, 2_400_000)
        rate.ask(1_000_000)
        assert rate.target == 1_000_000
        self.send(rate, 1_000_000)
        rate.ask(850_000)
        assert rate.target == 850_000

    def test_a_higher_estimate_is_taken(self) -> None:
        rate = SenderRate()
        rate.ask(4_000_000)
        assert rate.target == 4_000_000

    def test_it_stays_within_bounds(self) -> None:
        rate = SenderRate()
        rate.ask(10**9)
        assert rate.target == MAX_BITRATE
        self.send(rate, MAX_BITRATE)
        rate.ask(1)
        assert rate.target == MIN_BITRATE
