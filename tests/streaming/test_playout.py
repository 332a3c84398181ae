"""Viewers are asked to hold no picture back, if they know how to be asked."""

from __future__ import annotations

import logging

import pytest
from aiortc import RTCPeerConnection
from aiortc.codecs import HEADER_EXTENSIONS
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters, RTCRtpParameters
from aiortc.rtp import HeaderExtensions, HeaderExtensionsMap, unpack_header_extensions

from streaming import playout
from streaming.server import make_app
from tests.streaming.fakes import FakeHub
from tests.webrtc import Publisher, Viewer, serve

MID = RTCRtpHeaderExtensionParameters(id=1, uri="urn:ietf:params:rtp-hdrext:sdes:mid")


def parameters(*extensions: RTCRtpHeaderExtensionParameters) -> RTCRtpParameters:
    return RTCRtpParameters(headerExtensions=list(extensions))


def test_it_goes_with_every_packet_under_the_offers_number() -> None:
    extensions = playout.PlayoutMap()
    extensions.configure(parameters(MID, RTCRtpHeaderExtensionParameters(id=11, uri=playout.URI)))
    packed = extensions.set(HeaderExtensions(mid="0"))
    assert dict(unpack_header_extensions(*packed)) == {1: b"0", 11: b"\0\0\0"}
    assert extensions.get(*packed).mid == "0"


def test_nothing_is_sent_to_who_didnt_offer_it() -> None:
    ours, theirs = playout.PlayoutMap(), HeaderExtensionsMap()
    for each in (ours, theirs):
        each.configure(parameters(MID))
    values = HeaderExtensions(mid="0", abs_send_time=7)
    assert ours.set(values) == theirs.set(values)


def test_apply_twice_is_once() -> None:
    playout.apply()
    playout.apply()
    assert [each.uri for each in HEADER_EXTENSIONS["video"]].count(playout.URI) == 1
    assert len({each.id for each in HEADER_EXTENSIONS["video"]}) == len(HEADER_EXTENSIONS["video"])


async def test_another_aiortc_is_left_alone_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    connection = RTCPeerConnection()
    sender = connection.addTransceiver("video", direction="sendonly").sender
    delattr(sender, playout._MAP)
    with caplog.at_level(logging.WARNING):
        playout.ask(sender)
    assert playout._MAP in caplog.text
    assert not hasattr(sender, playout._MAP)
    await connection.close()


@pytest.mark.peer
async def test_a_viewers_packets_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[dict[int, bytes]] = []
    get = HeaderExtensionsMap.get

    def listen(self: HeaderExtensionsMap, profile: int, value: bytes) -> HeaderExtensions:
        heard.append(dict(unpack_header_extensions(profile, value)))
        return get(self, profile, value)

    monkeypatch.setattr(HeaderExtensionsMap, "get", listen)
    async with (
        serve(make_app(FakeHub())) as server,
        await Publisher.start(server, "me"),
        await Viewer.start(server, "me") as viewer,
    ):
        await viewer.see(3)
    with_it = [each for each in heard if playout.NONE in each.values()]
    without = [each for each in heard if playout.NONE not in each.values()]
    assert with_it, "of the pictures that were played"
    assert without, "of those that were published by aiortc itself"
