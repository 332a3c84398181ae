"""Playout delay: viewers are told to show each picture as soon as it is there.

A browser smooths the arrival of pictures by holding them back. Chromium does so by the longest wait of late, which a
slow model's uneven pictures make long: after one that comes late by a frame, all are shown a frame later, for half a
minute. The RTP header extension ``playout-delay`` (webrtc.org/experiments/rtp-hdrext/playout-delay: 12 bits of the
least and 12 of the longest delay, in steps of 10 ms) tells it not to. aiortc doesn't know it; browsers that don't
either leave it out of their offer, and nothing is sent.
"""

from __future__ import annotations

import logging

from aiortc.codecs import HEADER_EXTENSIONS
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters, RTCRtpParameters
from aiortc.rtcrtpsender import RTCRtpSender
from aiortc.rtp import HeaderExtensions, HeaderExtensionsMap, pack_header_extensions, unpack_header_extensions

logger = logging.getLogger(__name__)

URI = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
#: Least and longest delay.
NONE = bytes(3)
#: Its number in an offer of ours; in an answer it is the offer's.
_NUMBER = 4
_MAP = "_RTCRtpSender__rtp_header_extensions_map"


class PlayoutMap(HeaderExtensionsMap):
    """aiortc's header extensions and, where the other side knows it, this one."""

    def __init__(self) -> None:
        super().__init__()
        self._number: int | None = None

    def configure(self, parameters: RTCRtpParameters) -> None:
        super().configure(parameters)
        self._number = next((each.id for each in parameters.headerExtensions if each.uri == URI), None)

    def set(self, values: HeaderExtensions) -> tuple[int, bytes]:
        profile, packed = super().set(values)
        if self._number is None:
            return profile, packed
        return pack_header_extensions([*unpack_header_extensions(profile, packed), (self._number, NONE)])


def apply() -> None:
    """Make new peer connections agree to the extension. Doing it twice is harmless."""
    known = HEADER_EXTENSIONS["video"]
    if all(each.uri != URI for each in known):
        known.append(RTCRtpHeaderExtensionParameters(id=_NUMBER, uri=URI))


def ask(sender: RTCRtpSender) -> None:
    """Ask the viewer that a sender, not begun yet, is for. If aiortc's inside differs, a warning is logged."""
    if isinstance(getattr(sender, _MAP, None), HeaderExtensionsMap):
        setattr(sender, _MAP, PlayoutMap())
    else:
        logger.warning("This aiortc has no RTCRtpSender.%s; viewers may hold pictures back.", _MAP)
