"""Session descriptions: what an offer must have before aiortc sees it, and what our answer says besides.

aiortc takes an empty or garbled offer without a word and waits forever, so everything is checked here (RFC 8866 SDP,
RFC 8839 ICE, RFC 8122 fingerprints, RFC 9725 section 4.2 for WHIP).
"""

from __future__ import annotations

import ipaddress
import itertools
import re
from typing import Literal

from aiortc.sdp import DIRECTIONS, MediaDescription, SessionDescription

from streaming.errors import BadRequest

Role = Literal["publish", "play"]

#: The codecs this server can decode and encode.
VIDEO_CODECS = frozenset({"vp8", "h264"})
#: More candidates than any honest client has; each costs connectivity checks.
MAX_CANDIDATES = 40

_SENDS = {"sendonly", "sendrecv"}
_RECEIVES = {"recvonly", "sendrecv"}
_LINE = re.compile(r"\r\n|\r|\n")


def check_offer(text: str, *, role: Role) -> str:
    """The offer as aiortc can take it. Raises BadRequest with one sentence if it can't be answered.

    ``role`` is what the client wants: ``publish`` (WHIP: it must send video) or ``play`` (WHEP: it must receive video).
    """
    lines = [line for line in _LINE.split(text) if line]
    if not lines:
        raise BadRequest("The body is empty; send an SDP offer.")
    if lines[0].strip() != "v=0":
        raise BadRequest("The body isn't SDP; an offer begins with the line v=0.")
    cleaned = "\r\n".join(_spell_out_directions(_usable_candidates(lines))) + "\r\n"
    description = parse(cleaned)
    _check_sections(description)
    for media in description.media:
        _check_transport(media)
    _check_video(description, role)
    return cleaned


def parse(text: str) -> SessionDescription:
    """aiortc's parser, with its many exceptions made one. Raises BadRequest."""
    try:
        return SessionDescription.parse(text)
    except Exception as error:  # it asserts, indexes and unpacks what it was sent, so anything may come
        raise BadRequest(
            f"The SDP can't be parsed ({type(error).__name__}); send the browser's offer as it is."
        ) from error


def is_usable_candidate(value: str) -> bool:
    """Whether a candidate (the text after ``candidate:``) is UDP, of component 1, with an address in numbers.

    mDNS names (``….local``) would cost up to a second each to look up; a browser behind one reaches us with its own
    checks, and ICE learns the address from them (peer-reflexive, RFC 8445 section 7.3.1.3).
    """
    fields = value.split()
    if len(fields) < 8 or fields[1] != "1" or fields[2].lower() != "udp" or not fields[5].isdigit():
        return False
    try:
        ipaddress.ip_address(fields[4])
    except ValueError:
        return False
    return True


def hint_bitrate(answer: str, *, start_kbps: int, max_kbps: int) -> str:
    """The answer with libwebrtc's ``x-google-*-bitrate`` for what the browser sends.

    Without them Chromium starts at 300 kbit/s and shrinks the picture within two seconds.
    """
    hint = f"x-google-start-bitrate={start_kbps};x-google-max-bitrate={max_kbps}"
    lines = answer.rstrip("\r\n").split("\r\n")
    with_fmtp = {match[1] for line in lines if (match := re.match(r"a=fmtp:(\d+) ", line))}
    hinted: list[str] = []
    for line in lines:
        video = re.match(r"a=rtpmap:(\d+) (?:VP8|H264)/90000", line, re.IGNORECASE)
        fmtp = re.match(r"a=fmtp:\d+ .*profile-level-id", line)
        hinted.append(f"{line};{hint}" if fmtp else line)
        if video and video[1] not in with_fmtp:
            hinted.append(f"a=fmtp:{video[1]} {hint}")
    return "\r\n".join(hinted) + "\r\n"


def bundle_mid(description: SessionDescription) -> str:
    """The media section that carries the transport of the whole bundle (RFC 9143)."""
    for group in description.group:
        if group.semantic == "BUNDLE" and group.items:
            return str(group.items[0])
    return str(description.media[0].rtp.muxId)


def _usable_candidates(lines: list[str]) -> list[str]:
    kept: list[str] = []
    seen = 0
    for line in lines:
        if line.startswith("a=candidate:"):
            if seen >= MAX_CANDIDATES or not is_usable_candidate(line.removeprefix("a=candidate:")):
                continue
            seen += 1
        kept.append(line)
    return kept


def _spell_out_directions(lines: list[str]) -> list[str]:
    """A section without a direction is sendrecv (RFC 8866 section 6.7); aiortc would take it for none."""
    names = {f"a={direction}" for direction in DIRECTIONS}
    starts = [index for index, line in enumerate(lines) if line.startswith("m=")]
    session = lines[: starts[0]] if starts else lines
    default = next((line for line in session if line in names), "a=sendrecv")
    spelled = [line for line in session if line not in names]
    for start, end in itertools.pairwise([*starts, len(lines)]):
        section = lines[start:end]
        spelled += section if names.intersection(section) else [*section, default]
    return spelled


def _check_sections(description: SessionDescription) -> None:
    kinds = [media.kind for media in description.media]
    if "video" not in kinds:
        raise BadRequest("The offer has no video section (m=video); add a video transceiver.")
    if kinds.count("video") > 1:
        raise BadRequest("The offer has several video sections; this server takes one video track a connection.")
    unknown = sorted(set(kinds) - {"audio", "video", "application"})
    if unknown or kinds.count("application") > 1:
        raise BadRequest("The offer may have audio, video and one data channel section, nothing else.")
    mids = [media.rtp.muxId for media in description.media]
    if len(mids) > 1 and (not all(mids) or len(set(mids)) < len(mids)):
        raise BadRequest("Each section of the offer needs an a=mid line of its own.")


def _check_transport(media: MediaDescription) -> None:
    if not media.ice.usernameFragment or not media.ice.password:
        raise BadRequest(f"The offer's {media.kind} section has no ICE credentials (a=ice-ufrag and a=ice-pwd).")
    if media.dtls is None or not media.dtls.fingerprints:
        raise BadRequest(f"The offer's {media.kind} section has no DTLS fingerprint (a=fingerprint and a=setup).")
    if media.kind != "application" and not media.rtcp_mux:
        raise BadRequest(f"The offer's {media.kind} section lacks a=rtcp-mux, which WebRTC requires.")


def _check_video(description: SessionDescription, role: Role) -> None:
    video = next(media for media in description.media if media.kind == "video")
    if role == "publish" and video.direction not in _SENDS:
        raise BadRequest(f"The offer's video is {video.direction}; to publish it must be sendonly or sendrecv.")
    if role == "play" and video.direction not in _RECEIVES:
        raise BadRequest(f"The offer's video is {video.direction}; to play it must be recvonly or sendrecv.")
    if not VIDEO_CODECS.intersection(codec.name.lower() for codec in video.rtp.codecs):
        raise BadRequest("The offer has no video codec that this server speaks; offer VP8 or H264.")
