"""Whether a model will fit into memory, told before it is loaded: one sentence now instead of a crash half way.

The parameters are counted from the configurations. What a forward takes on top of them was measured on a CPU at full
size (the growth of the process's largest resident size, f32, PyTorch's own kernels); half precision is reckoned as half
of it, and a GPU as a CPU.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import psutil
import torch

from pipelines import layout
from pipelines.backends.base import GPU_BATCHES
from pipelines.errors import MemoryShortage
from pipelines.files import ModelFiles
from pipelines.parts import text_encoders
from pipelines.reading import read_json
from pipelines.unet import Config

#: Bytes for each pixel of the picture, of a U-Net with its ControlNet whose first stage is 320 wide, and of decoders
#: that end in 64 and 128 channels. Measured at 1024² and 512²: SDXS-512 562 and 1083, SD-Turbo 955 and 1262, the layout
#: of SDXS-1024 541 at 1024², where a fixed part weighs less; TAESD's 1060 and 1118; the KL decoder 3867 and 4261. In
#: bf16 SDXS-512 took 623 at 512².
_UNET, _TINY, _KL = 800, 1120, 4270
_UNET_WIDTH, _TINY_WIDTH, _KL_WIDTH = 320, 64, 128
#: The fixed part: workspaces of the kernels.
_WORKSPACE = 192 * 2**20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Needs:
    """Bytes: the weights, and what painting one batch takes beside them."""

    weights: int
    painting: int

    @property
    def total(self) -> int:
        return self.weights + self.painting


def estimate(
    unet: Config,
    *,
    vae: Config,
    texts: Sequence[Config],
    controlnets: Sequence[Config],
    dtype: torch.dtype,
    size: tuple[int, int],
    batch: int = 1,
    copies: int = 1,
) -> Needs:
    """What a model of these configurations takes at (height, width). ``copies``: of all but the text encoders."""
    networks = sum(layout.parameters(config) for config in (unet, vae, *controlnets))
    parameters = copies * networks + sum(layout.parameters(config) for config in texts)
    per_pixel = max(_UNET * _widths(unet)[0] / _UNET_WIDTH, _decoder(vae))
    painting = _WORKSPACE + per_pixel * size[0] * size[1] * batch
    return Needs(
        weights=parameters * dtype.itemsize, painting=round(painting * dtype.itemsize / torch.float32.itemsize)
    )


def check(
    files: ModelFiles, *, dtype: torch.dtype, device: torch.device, size: tuple[int, int], backend: str = "auto"
) -> int:
    """That a model fits beside what else is in memory; how many pictures at once do, of ``GPU_BATCHES`` on a GPU.

    Raises MemoryShortage with both amounts if not even one does.

    On its way to a GPU the model passes through the host's memory, which is looked at too. On a CPU the OpenVINO
    backend, which ``auto`` takes there, has the networks a second time: measured with SDXS-512 and its ControlNet in
    f32, 2.5 GiB for ``eager`` and 4.6 GiB for it.
    """
    on_gpu = device.type == "cuda"
    needs = functools.partial(
        estimate,
        read_json(files.directory / "unet" / "config.json"),
        vae=read_json(files.vae / "config.json"),
        texts=[read_json(files.directory / name / "config.json") for name in text_encoders(files.directory)],
        controlnets=[read_json(folder / "config.json") for folder in dict.fromkeys(files.controlnets.values())],
        dtype=dtype,
        size=size,
        copies=1 if on_gpu or backend.startswith(("eager", "compiled")) else 2,
    )
    height, width = size
    what = f"{files.preset.name} at {width}×{height}"
    alone = needs(batch=1)
    on_host = alone.weights if on_gpu else alone.total
    _compare(what, on_host, psutil.virtual_memory().available, "of memory")
    if not on_gpu:
        return 1
    free = torch.cuda.mem_get_info(device)[0]
    _compare(what, alone.total, free, f"on the GPU {device}")
    return max(batch for batch in GPU_BATCHES if batch == 1 or needs(batch=batch).total <= free)


def _compare(what: str, needed: int, free: int, where: str) -> None:
    if needed > free:
        raise MemoryShortage(
            f"{what} needs about {_words(needed)} {where}, but only {_words(free)} are free: close other programs, or "
            "take a smaller model (--model embedded), a smaller --size or --dtype fp16 on a GPU."
        )


def _words(amount: int) -> str:
    return f"{amount / 2**30:.1f} GiB" if amount >= 2**30 else f"{amount / 2**20:.0f} MiB"


def _decoder(vae: Config) -> float:
    if layout.class_name(vae) == "AutoencoderTiny":
        return _TINY * tuple(vae.get("decoder_block_out_channels", (_TINY_WIDTH,)))[-1] / _TINY_WIDTH
    if layout.class_name(vae) == "AutoencoderSubpixel":
        return _TINY * vae.get("half_channels", 24) / 4 / _TINY_WIDTH  # nothing wide at the picture's own resolution
    return _KL * _widths(vae)[0] / _KL_WIDTH


def _widths(config: Config) -> Sequence[int]:
    return tuple(config.get("block_out_channels", (_UNET_WIDTH,)))
