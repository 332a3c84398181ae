"""Floating-point operations of the networks, counted from their layouts: no weights, no memory, no quoted figures."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from pipelines import layout
from pipelines.files import ModelFiles
from pipelines.reading import read_json
from pipelines.unet import Config
from realtime.bench.random_weights import Layout


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flops:
    """Of one picture, a multiplication and an addition being two. ``text``: of one prompt; the rest of each frame."""

    text: int
    controlnet: int
    unet: int
    decoder: int

    @property
    def frame(self) -> int:
        """What every frame takes: the prompt is encoded once."""
        return self.controlnet + self.unet + self.decoder


def count_flops(files: ModelFiles, size: tuple[int, int]) -> Flops:
    """Of a model that is here, for a picture of (height, width).

    ``torch.utils.flop_counter`` over one forward of each part on the meta device, batch 1, one ControlNet.
    """
    controls = [_read(folder) for folder in files.controlnets.values()]
    texts = [_read(folder) for folder in sorted(files.directory.glob("text_encoder*"))]
    unet, vae = _read(files.directory / "unet"), _read(files.vae)
    return _count_parts(Layout(unet=unet, vae=vae, texts=tuple(texts), control=next(iter(controls), None)), size)


def count_layout(layout: Layout) -> Flops:
    """The same of a layout, for a picture of its side."""
    return _count_parts(layout, (layout.side, layout.side))


def _count_parts(parts: Layout, size: tuple[int, int]) -> Flops:
    height, width = size
    tokens = int(parts.texts[0].get("max_position_embeddings", parts.tokens))
    latents = _meta(1, int(parts.unet["in_channels"]), height // 8, width // 8)
    ids = torch.zeros(1, tokens, dtype=torch.int64, device="meta")
    given: dict[str, Any] = {
        "timestep": _meta(1),
        "encoder_hidden_states": _meta(1, tokens, int(parts.unet["cross_attention_dim"])),
        **_added(parts.unet),
    }
    return Flops(
        text=sum(_count(text, lambda encoder: encoder(ids)) for text in parts.texts),
        controlnet=_count(parts.control, lambda net: net(latents, controlnet_cond=_meta(1, 3, height, width), **given))
        if parts.control
        else 0,
        unet=_count(parts.unet, lambda net: net(latents, **given)),
        decoder=_count(parts.vae, lambda net: net.decode(latents)),
    )


def _count(config: Config, forward: Callable[[Any], object]) -> int:
    module = layout.build(config).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        forward(module)
    return int(counter.get_total_flops())


def _added(unet: Config) -> dict[str, Any]:
    """SDXL's further conditions: the pooled text and six numbers."""
    if unet.get("addition_embed_type") != "text_time":
        return {}
    pooled = int(unet["projection_class_embeddings_input_dim"]) - 6 * int(unet["addition_time_embed_dim"])
    return {"added_cond_kwargs": {"text_embeds": _meta(1, pooled), "time_ids": _meta(1, 6)}}


def _read(folder: Path) -> Config:
    config: Config = read_json(folder / "config.json")
    return config


def _meta(*shape: int) -> torch.Tensor:
    return torch.zeros(*shape, device="meta")
