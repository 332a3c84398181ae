"""What a figure depends on: machine, device, versions, the state of the sources and the command."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import torch

_ROOT = Path(__file__).parent.parent.parent
_VERSIONS = ("sdxs-live", "torch", "diffusers", "transformers", "openvino", "aiortc", "av", "controlnet-aux")


def machine() -> dict[str, Any]:
    """Processor, cores, load before, device and the versions of what is installed."""
    return {
        "processor": _processor(),
        "cores": cores(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "load_before": round(psutil.getloadavg()[0], 2),
        "device": device_name(),
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "versions": {name: version for name in _VERSIONS if (version := _version(name))},
    }


def cores() -> int:
    """Those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def device_name() -> str:
    """The GPU's, with its CUDA; ``no GPU`` where there is none."""
    if not torch.cuda.is_available():
        return "no GPU"
    return f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"


def command() -> str:
    """The command line as it would be typed again."""
    program = Path(sys.argv[0])
    words = [program.name] if program.suffix != ".py" else ["python", _short(program)]
    return shlex.join([*words, *sys.argv[1:]])


def commit() -> str:
    """The sources' git commit, with ``+`` when files differ from it; empty where there is no repository."""
    found = _git("rev-parse", "--short=12", "HEAD")
    return found + "+" * bool(found and _git("status", "--porcelain", "--untracked-files=no"))


def _short(path: Path) -> str:
    try:
        return path.resolve().relative_to(_ROOT).as_posix()
    except ValueError:
        return path.name


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(_ROOT), *arguments], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
