"""Publishes a stamped picture with FFmpeg's own WHIP muxer: ``python -m tests.streaming.ffmpeg_publisher URL``.

A process of its own, because FFmpeg does its HTTP while holding the interpreter's lock. It runs until it is killed.
"""

from __future__ import annotations

import datetime
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from streaming import stamp
from tests.webrtc import now_ms


def make_certificate(folder: Path) -> dict[str, str]:
    """A P-256 certificate for the muxer's DTLS."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "publisher")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem, traditional = serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL
    (folder / "key.pem").write_bytes(key.private_bytes(pem, traditional, serialization.NoEncryption()))
    (folder / "cert.pem").write_bytes(certificate.public_bytes(pem))
    return {"cert_file": str(folder / "cert.pem"), "key_file": str(folder / "key.pem")}


def publish(url: str, certificate: dict[str, str], *, fps: int = 30) -> None:
    """Publish a picture that moves, for ever."""
    with av.open(url, "w", format="whip", options=certificate) as container:
        video = container.add_stream("libx264", rate=fps, options={"preset": "ultrafast", "tune": "zerolatency"})
        video.width = video.height = 256
        video.pix_fmt, video.codec_context.profile, video.codec_context.gop_size = "yuv420p", "Baseline", fps
        start = time.monotonic()
        n = 0
        while True:
            image = np.full((256, 256, 3), 90, np.uint8)
            image[64:192, n * 3 % 192 :][:, :64] = 200
            stamp.draw(image, n, now_ms())
            picture = av.VideoFrame.from_ndarray(image, format="rgb24")
            picture.pts, picture.time_base = n, Fraction(1, fps)
            container.mux(video.encode(picture))
            n += 1
            time.sleep(max(0.0, start + n / fps - time.monotonic()))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        publish(sys.argv[1], make_certificate(Path(folder)))
