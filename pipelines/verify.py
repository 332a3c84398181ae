"""Whether a pipeline's backend paints what eager paints, on the same weights: asked for with ``--verify``.

The pictures go the way that frames go, as bytes, in batches and in both forms.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pipelines.errors import BackendError
from pipelines.frame_graph import FORMS
from pipelines.settings import Kind, Settings

if TYPE_CHECKING:
    from pipelines.sdxs import SDXSPipeline

#: Decibels below which it is another picture and no rounding, by precision; of fp32 on a CUDA device, whose
#: convolutions use TF32, those of fp16, which has as many digits.
LEAST_PSNR = {torch.float32: 55.0, torch.float16: 42.0, torch.bfloat16: 32.0}
#: What a backend states was measured on other pictures; these may have twice the error.
_OTHER_PICTURES = 3.0

_PROMPTS = ("", "a cat on a red sofa, oil painting", "neon city at night")
_BATCHES = (1, 2, 4)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Agreement:
    """Of all pictures: the lowest peak signal-to-noise ratio in dB, and the largest difference, with white as 1."""

    backend: str
    psnr: float
    largest: float
    least: float

    @property
    def holds(self) -> bool:
        return self.psnr >= self.least

    def __str__(self) -> str:
        close = "exactly" if math.isinf(self.psnr) else f"{self.psnr:.0f} dB, at most {self.largest:.3f} apart"
        return f"Verified: {self.backend} paints what eager paints: {close}."


def verify(pipeline: SDXSPipeline) -> Agreement:
    """Paint some prompts, seeds and controls at batch sizes up to 4 with both. Raises BackendError if they differ."""
    reference = pipeline.reference()
    psnr, largest = math.inf, 0.0
    for maps, settings in _batches(pipeline):
        for form in FORMS:
            # The pipeline first: it is the one that changes a LoRA.
            painted = pipeline.paint_uint8(maps, settings, form=form)
            expected = reference.paint_uint8(maps, settings, form=form)
            for mine, its in zip(painted.int(), expected.int(), strict=True):
                psnr = min(psnr, _psnr(mine, its))
                largest = max(largest, float((mine - its).abs().max()) / 255)
    found = Agreement(backend=pipeline.backend_name, psnr=psnr, largest=largest, least=_least(pipeline))
    if not found.holds:
        raise BackendError(
            f"The {found.backend} backend paints other pictures than eager: {psnr:.0f} dB, where {found.least:.0f} dB "
            "are the least it has to keep; use --backend eager and report it."
        )
    return found


def _batches(pipeline: SDXSPipeline) -> Iterator[tuple[Tensor, Sequence[Settings]]]:
    """Every control alone, all of them together, and text alone, at each batch size."""
    generator = torch.Generator().manual_seed(0)
    for kinds in _choices(pipeline.controls):
        for count in (each for each in _BATCHES if each <= pipeline.batches[-1]):
            settings = [_settings(pipeline, nth, kinds) for nth in range(count)]
            yield _maps(count, len(kinds), pipeline.size, generator).to(pipeline.device), settings


def _choices(controls: Sequence[Kind]) -> list[tuple[Kind, ...]]:
    alone: list[tuple[Kind, ...]] = [(kind,) for kind in controls]
    return [*alone, *([tuple(controls)] if len(controls) > 1 else []), ()]


def _settings(pipeline: SDXSPipeline, nth: int, kinds: Sequence[Kind]) -> Settings:
    """The model's own style, other words and seeds; each of a batch with strengths of its own."""
    own = pipeline.preset.defaults
    first, *others = kinds or ("none",)
    return own.replace(
        prompt=_PROMPTS[nth % len(_PROMPTS)] or own.prompt,
        seed=own.seed + 7 * nth,
        control=first,
        conditioning_scale=(0.8, 0.4, 1.0, 0.6)[nth],
        extra_controls=dict.fromkeys(others, 0.5),
        init_strength=0.0,
        lora=own.lora if own.lora in pipeline.loras else "",
    )


def _maps(count: int, kinds: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """uint8 B×K×H×W: the outlines of some boxes, white on black, thin as those of canny."""
    height, width = size
    maps = torch.zeros(count, kinds, height, width, dtype=torch.uint8)
    for drawing in maps.flatten(0, 1):
        for _ in range(6):
            y, x = (torch.rand(2, generator=generator) * torch.tensor([height - 8, width - 8])).int().tolist()
            tall, wide = (4 + torch.rand(2, generator=generator) * torch.tensor([height, width]) / 2).int().tolist()
            box = drawing[y : y + tall, x : x + wide]
            box[:2], box[-2:], box[:, :2], box[:, -2:] = 255, 255, 255, 255
    return maps


def _psnr(mine: Tensor, its: Tensor) -> float:
    error = float((mine - its).double().square().mean()) / 255**2
    return math.inf if error == 0 else -10 * math.log10(error)


def _least(pipeline: SDXSPipeline) -> float:
    if pipeline.least_psnr is not None:
        return pipeline.least_psnr - _OTHER_PICTURES
    on_tensor_cores = pipeline.device.type == "cuda" and pipeline.dtype == torch.float32
    return LEAST_PSNR[torch.float16 if on_tensor_cores else pipeline.dtype]
