"""Models of the true layouts with random weights, made in memory: nothing is read, written or fetched."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch

from pipelines import layout
from pipelines.checkpoint import Checkpoint
from pipelines.controlnet import SD_TURBO_CONTROL, SDXS_512_SKETCH, SDXS_1024_CONTROL
from pipelines.decoder import LARGE, TINY
from pipelines.text_encoder import CLIP_L, OPENCLIP_BIG_G, OPENCLIP_H
from pipelines.unet import SD_TURBO, SDXS_512, SDXS_512_0_9, SDXS_1024, Config
from tests.pipelines import tiny


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """What a preset is put together from; ``control`` is the ControlNet that fits it."""

    unet: Config
    vae: Config
    texts: tuple[Config, ...]
    control: Config | None = None


LAYOUTS = {
    "sdxs-512-dreamshaper": Layout(unet=SDXS_512, vae=TINY, texts=(CLIP_L,), control=SDXS_512_SKETCH),
    "sdxs-512-dreamshaper, vae_large": Layout(unet=SDXS_512, vae=LARGE, texts=(CLIP_L,), control=SDXS_512_SKETCH),
    "sdxs-512-0.9": Layout(unet=SDXS_512_0_9, vae=TINY, texts=(OPENCLIP_H,)),
    "sd-turbo": Layout(unet=SD_TURBO, vae=LARGE, texts=(OPENCLIP_H,), control=SD_TURBO_CONTROL),
    "sdxs-1024": Layout(unet=SDXS_1024, vae=TINY, texts=(CLIP_L, OPENCLIP_BIG_G), control=SDXS_1024_CONTROL),
}


def random_checkpoint(chosen: Layout, workspace: Path, *, device: torch.device, dtype: torch.dtype) -> Checkpoint:
    words = tiny.tokenizer(workspace / "words")
    torch.manual_seed(0)

    def make(config: Config, **changes: Any) -> Any:
        with device:
            return layout.make({**config, **changes}).to(dtype).eval().requires_grad_(False)

    ends = {"vocab_size": len(words), "bos_token_id": len(words) - 2, "eos_token_id": len(words) - 1}
    return Checkpoint(
        unet=make(chosen.unet),
        vae=make(chosen.vae),
        text_encoders=[make(text, **ends) for text in chosen.texts],
        tokenizers=[words] * len(chosen.texts),
        scheduler={**tiny.scheduler().config, "_class_name": "DEISMultistepScheduler"},
        controlnets={"canny": make(chosen.control)} if chosen.control else {},
    )
