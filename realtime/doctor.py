"""Doctor: looks at this machine and says what is missing, each with its mend in words."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import importlib.metadata
import os
import platform
import re
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import psutil

Verdict = Literal["ok", "note", "missing"]

#: Importing these shows the two ways an installation is known to break; of the others the version is enough.
IMPORTED = {
    "cv2": "Run: pip uninstall -y opencv-python opencv-python-headless; pip install opencv-python-headless",
    "torchvision": "torch and torchvision don't match; run: pip install --force-reinstall torch torchvision",
}
#: What the server takes beside a model: PyTorch, codecs, pictures in flight. Measured: 1.25 GiB with one session.
SERVER_BYTES = 3 * 2**29


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """``missing`` is something the tool can't do without; a ``note`` is good to know. ``mend``: what to do."""

    check: str
    verdict: Verdict
    detail: str
    mend: str = ""


def examine(*, port: int = 8080) -> Iterator[Finding]:
    """Every check in turn. A check that itself fails is a finding too."""
    checks: list[Callable[[], Iterator[Finding]]] = [
        _python,
        _packages,
        _processor,
        _gpu,
        _memory,
        _weights,
        _encoders,
        _camera,
        lambda: _port(port),
        _network,
        _https,
        _turn,
    ]
    for check in checks:
        try:
            yield from check()
        except Exception as error:
            name = getattr(check, "__name__", "check").strip("_")
            yield Finding(
                check=name, verdict="missing", detail=f"can't be checked: {error}", mend="Please report this."
            )


def _python() -> Iterator[Finding]:
    fits = sys.version_info >= (3, 10)
    yield Finding(
        check="Python",
        verdict="ok" if fits else "missing",
        detail=platform.python_version(),
        mend="" if fits else "Install Python 3.10 or newer and set up again with it.",
    )


def _packages() -> Iterator[Finding]:
    absent = [name for name in _requirements() if not _version(name)]
    yield Finding(
        check="Packages",
        verdict="missing" if absent else "ok",
        detail=f"not installed: {', '.join(absent)}" if absent else f"torch {_version('torch')}, all others are there",
        mend="Run: pip install sdxs-live (or make install in a checkout)." if absent else "",
    )
    for module, mend in IMPORTED.items():
        try:
            importlib.import_module(module)
        except (ImportError, RuntimeError, OSError) as error:
            yield Finding(check=module, verdict="missing", detail=f"can't be imported: {error}", mend=mend)


def _requirements() -> list[str]:
    try:
        lines = importlib.metadata.requires("sdxs-live") or []
    except importlib.metadata.PackageNotFoundError:
        return ["sdxs-live"]
    return [re.split(r"[^A-Za-z0-9._-]", line)[0] for line in lines if "extra ==" not in line]


def _version(name: str) -> str:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(name)
    return ""


def _processor() -> Iterator[Finding]:
    cores = os.cpu_count() or 1
    yield Finding(
        check="Processor",
        verdict="ok" if cores >= 2 else "note",
        detail=f"{cores} cores, {platform.machine()}",
        mend="" if cores >= 2 else "With a single core the video codec and the model share it; expect few frames.",
    )


def _gpu() -> Iterator[Finding]:
    import torch

    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            about = torch.cuda.get_device_properties(index)
            yield Finding(check="GPU", verdict="ok", detail=f"{about.name}, {about.total_memory / 2**30:.0f} GiB")
        return
    nvidia = any(Path("/dev").glob("nvidia[0-9]*"))
    yield Finding(
        check="GPU",
        verdict="note",
        detail="an NVIDIA GPU that torch can't use" if nvidia else "no CUDA GPU; the embedded model paints on the CPU",
        mend="Install the NVIDIA driver that fits the CUDA version of torch." if nvidia else "",
    )


def _memory() -> Iterator[Finding]:
    """Enough for the model that ``--model auto`` takes here, and what the server takes beside it."""
    import torch

    from pipelines.catalogue import memory_needed
    from realtime.choose import ANYWHERE, BEST

    cuda = torch.cuda.is_available()
    name = BEST if cuda else ANYWHERE
    needed = memory_needed(name, dtype=torch.float16 if cuda else torch.float32).weights + SERVER_BYTES
    free = psutil.virtual_memory().available
    fits = free >= needed
    yield Finding(
        check="Memory",
        verdict="ok" if fits else "missing",
        detail=f"{free / 2**30:.1f} GiB free; {name} and the server take about {needed / 2**30:.1f} GiB",
        mend="" if fits else "Close other programs, or take the embedded model.",
    )
    if cuda:
        yield _gpu_memory(BEST, memory_needed(BEST, dtype=torch.float16).total)


def _gpu_memory(name: str, needed: int) -> Finding:
    import torch

    free = torch.cuda.mem_get_info()[0]
    fits = free >= needed
    return Finding(
        check="GPU memory",
        verdict="ok" if fits else "note",
        detail=f"{free / 2**30:.1f} GiB free; {name} takes about {needed / 2**30:.1f} GiB",
        mend="" if fits else "Close what else runs on the GPU, or start with --model embedded.",
    )


def _weights() -> Iterator[Finding]:
    from pipelines.catalogue import list_presets
    from pipelines.folders import models_folder

    for preset in list_presets():
        name = preset["name"]
        if preset["present"]:
            finding = Finding(check=f"Weights of {name}", verdict="ok", detail="here")
        elif not preset["repo"] and preset["released"]:
            mend = "They ship with the package; install it again."
            finding = Finding(check=f"Weights of {name}", verdict="missing", detail="not here", mend=mend)
        elif preset["released"]:
            mend = f"If you want it, run: sdxs-live models pull {name} (it goes to {models_folder()})."
            finding = Finding(check=f"Weights of {name}", verdict="note", detail="not here", mend=mend)
        else:
            detail = "never released: a layout to be trained and benchmarked"
            finding = Finding(check=f"Weights of {name}", verdict="note", detail=detail)
        yield finding


def _encoders() -> Iterator[Finding]:
    import av

    for name, codec in (("H264", "libx264"), ("VP8", "libvpx")):
        there = codec in av.codecs_available
        yield Finding(
            check=f"{name} encoder",
            verdict="ok" if there else "missing",
            detail=codec if there else f"this PyAV has no {codec}",
            mend="" if there else "Install PyAV's own wheel: pip install --force-reinstall --only-binary :all: av",
        )


def _camera() -> Iterator[Finding]:
    if not sys.platform.startswith("linux"):
        yield Finding(check="Camera", verdict="note", detail="the browser asks for it; not checked on this system")
        return
    devices = sorted(Path("/dev").glob("video*"))
    closed = [str(device) for device in devices if not os.access(device, os.R_OK | os.W_OK)]
    if closed:
        mend = "Add yourself to the group 'video' (sudo usermod -aG video $USER) and log in again."
        yield Finding(check="Camera", verdict="note", detail=f"{', '.join(closed)} may not be opened", mend=mend)
    elif devices:
        yield Finding(check="Camera", verdict="ok", detail=", ".join(map(str, devices)))
    else:
        mend = "Plug one in, or publish from a browser on a machine that has one."
        yield Finding(check="Camera", verdict="note", detail="none on this machine", mend=mend)


def _port(port: int) -> Iterator[Finding]:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            mend = "Stop what runs there, or pass --port 0 for any free one."
            yield Finding(check=f"Port {port}", verdict="note", detail=str(error.strerror), mend=mend)
        else:
            yield Finding(check=f"Port {port}", verdict="ok", detail="free")


def _network() -> Iterator[Finding]:
    """ICE leaves 127.0.0.1 out (RFC 8445 section 5.1.1.1), so WebRTC takes another address even on one machine."""
    names = [
        address.address
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family in {socket.AF_INET, socket.AF_INET6} and not address.address.startswith(("127.", "::1"))
    ]
    yield Finding(
        check="Network",
        verdict="ok" if names else "missing",
        detail=", ".join(names[:3]) if names else "only the loopback interface is up",
        mend="" if names else "WebRTC takes a network address even on one machine; connect to a network.",
    )


def _https() -> Iterator[Finding]:
    yield Finding(
        check="HTTPS",
        verdict="note",
        detail="not needed on localhost; other machines get the camera over HTTPS only",
        mend="For them start with --host 0.0.0.0 --tls-cert CERT.pem --tls-key KEY.pem.",
    )


def _turn() -> Iterator[Finding]:
    yield Finding(
        check="TURN",
        verdict="note",
        detail="not configured; works on one machine and within a network",
        mend="Viewers behind another NAT can't connect; publish to a WebRTC server on the internet for them.",
    )


def as_rows(findings: list[Finding]) -> list[dict[str, Any]]:
    """For JSON."""
    return [dataclasses.asdict(finding) for finding in findings]
