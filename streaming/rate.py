"""Bitrates that measure the line and not the picture: what aiortc asks of senders, and what its senders are asked for.

REMB (draft-alvestrand-rmcat-remb) is all that aiortc speaks, and both aiortc and libwebrtc set their first estimate,
after 3 or 5 seconds, to what happens to come in just then. A quiet picture needs little, so the estimate says that the
line can't do more, and climbs by 8 % a second from there: Chromium's camera picture shrinks and blurs. Here a rate that
the sender didn't fill counts for nothing; one that it did fill, and loss or delay all the more, count as before.
"""

from __future__ import annotations

from collections import deque

from aiortc.rate import AimdRateControl, BandwidthUsage

from streaming.frame import VIDEO_TIME_BASE

#: Bits a second that any line is trusted with until it shows otherwise: sharp for 512² at 30 pictures a second.
START_BITRATE = 2_500_000
MIN_BITRATE = 300_000
MAX_BITRATE = 8_000_000

#: The share of a rate that must have been used before it can have been too much.
_FILLED = 0.5
#: How much one sign of overuse takes away while the line wasn't full: it may be a busy machine's unsteady clock.
_MILD_DECREASE = 0.8
#: A REMB below this share of what was sent says that it was too much (overuse gives 0.85); above it, it says nothing.
_OBEYED = 0.9


class PatientRateControl(AimdRateControl):
    """For a receiver: begins at START_BITRATE and doesn't fall to what a quiet picture needs."""

    def __init__(self) -> None:
        super().__init__()
        self.current_bitrate = START_BITRATE
        self.current_bitrate_initialized = True

    def update(self, bandwidth_usage: BandwidthUsage, estimated_throughput: int | None, now_ms: int) -> int | None:
        """The bitrate to ask for, in bits a second; see aiortc."""
        before = self.current_bitrate
        after: int | None = super().update(bandwidth_usage, estimated_throughput, now_ms)
        if after is not None and estimated_throughput is not None and estimated_throughput < _FILLED * before:
            kept = _MILD_DECREASE if bandwidth_usage == BandwidthUsage.OVERUSING else 1.0
            after = max(after, round(kept * before))
        if after is not None:
            self.current_bitrate = after = max(MIN_BITRATE, min(after, MAX_BITRATE))
        return after


class SenderRate:
    """For a sender: what it may use, from what the receiver asks and what it has sent."""

    def __init__(self) -> None:
        self.target = START_BITRATE
        self._sent: deque[tuple[int, int]] = deque()
        self._rate = 0.0

    def ask(self, bitrate: int) -> None:
        """A receiver's estimate (REMB), in bits a second."""
        if bitrate >= self.target or bitrate < _OBEYED * self._rate:
            self.target = max(MIN_BITRATE, min(int(bitrate), MAX_BITRATE))

    def count(self, timestamp: int, size: int) -> None:
        """Note that a picture of ``size`` bytes was sent, at ``timestamp`` on the 90 kHz clock."""
        self._sent.append((timestamp, size))
        while timestamp - self._sent[0][0] > VIDEO_TIME_BASE.denominator:
            self._sent.popleft()
        # Over a full second: a burst at the start is no rate.
        self._rate = sum(size for _, size in self._sent) * 8.0
