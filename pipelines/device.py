"""Where a model runs, and in which precision."""

from __future__ import annotations

import torch

from pipelines.errors import BackendError
from pipelines.presets import Preset

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}

#: The name of Intel's GPU, which the OpenVINO backend runs on; to PyTorch it is a CPU.
INTEL_GPU = "intel-gpu"


def pick_device(name: str) -> torch.device:
    """``auto``, ``cpu``, ``cuda`` or ``cuda:N``. Raises BackendError when that device isn't here."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise BackendError(f"There is no device {name!r}; use auto, cpu, cuda, cuda:N or intel-gpu.") from None
    if device.type not in {"cpu", "cuda"}:
        raise BackendError(f"The device {name!r} is not supported; use auto, cpu, cuda, cuda:N or intel-gpu.")
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        raise BackendError(f"The device {name!r} is not here (no such CUDA GPU is visible); use --device cpu.")
    return device


def pick_dtype(preset: Preset, device: torch.device) -> torch.dtype:
    """What the model needs, where its preset says so; otherwise fp16 on CUDA and fp32 on a CPU."""
    if preset.dtype != "auto":
        return DTYPES[preset.dtype]
    return torch.float16 if device.type == "cuda" else torch.float32


def dtype_name(dtype: torch.dtype) -> str:
    """``fp16``, ``bf16`` or ``fp32``."""
    return next(name for name, each in DTYPES.items() if each == dtype)
