"""The folded graph in pieces: what no condition map reaches, what each ControlNet adds, and what makes the picture.

The U-Net's descent (and its middle block) sees the noise and the prompt alone: a ControlNet's share is added to what
comes out of it. So it is constant until a seed or a prompt changes, and a frame needs its ControlNets, the U-Net's
ascent and the decoder only. In pieces, every choice of ControlNets is put together from the same few networks.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pipelines.errors import BackendError
from pipelines.graph import PaintGraph
from pipelines.sampler import OneStep

#: The skips of the U-Net in the order they come, and last its deepest features: each B×c×h×w.
Features = tuple[Tensor, ...]


class Descent(nn.Module):
    """``forward(noise, embeddings, temb) -> Features`` of a folded graph's U-Net: no map reaches it.

    Raises BackendError for a U-Net that does something else on the way.
    """

    def __init__(self, graph: PaintGraph) -> None:
        super().__init__()
        unet = graph.unet
        if unet.config.center_input_sample or unet.time_embed_act is not None or unet.encoder_hid_proj is not None:
            raise BackendError("This U-Net is of a form that can't be split; use --backend eager.")
        self.conv_in, self.down_blocks, self.mid_block = unet.conv_in, unet.down_blocks, unet.mid_block
        self.input_scale = graph.step.input_scale

    def forward(self, noise: Tensor, embeddings: Tensor, temb: Tensor) -> Features:
        sample = self.conv_in(_scaled(noise, self.input_scale))
        features = [sample]
        for block in self.down_blocks:
            sample, more = block(hidden_states=sample, temb=temb, **_context(block, embeddings))
            features += more
        if self.mid_block is not None:
            sample = self.mid_block(sample, temb, **_context(self.mid_block, embeddings))
        return *features, sample


class Control(nn.Module):
    """``forward(maps, scales, noise, embeddings, temb) -> Features``: what one ControlNet adds to the U-Net's.

    ``maps`` B×C×H×W in [0, 1], in the polarity it was trained with, ``scales`` B×1. C is 3, or 1 for a net that was
    made for grey maps (``pipelines.backends.lean``).
    """

    def __init__(self, net: Any, step: OneStep) -> None:
        super().__init__()
        self.net, self.step = net, step

    def forward(self, maps: Tensor, scales: Tensor, noise: Tensor, embeddings: Tensor, temb: Tensor) -> Features:
        timestep = torch.full((1,), self.step.timestep, dtype=torch.int64, device=noise.device)
        skips, deepest = self.net(
            _scaled(noise, self.step.input_scale),
            timestep.expand(noise.shape[0]),
            encoder_hidden_states=embeddings,
            controlnet_cond=maps,
            conditioning_scale=scales.to(noise.dtype).view(-1, 1, 1, 1),
            timestep_cond=temb,
            return_dict=False,
        )
        return *skips, deepest


class Ascent(nn.Module):
    """``forward(noise, embeddings, temb, *features) -> pictures`` B×3×H×W in [0, 1]: the U-Net's other half, the one
    step and the decoder. ``features``: those of Descent, plus what the Controls add to each."""

    def __init__(self, graph: PaintGraph) -> None:
        super().__init__()
        unet = graph.unet
        self.up_blocks = unet.up_blocks
        self.norm, self.act, self.conv_out = unet.conv_norm_out, unet.conv_act, unet.conv_out
        self.decode, self.step = graph.decode, graph.step

    def forward(self, noise: Tensor, embeddings: Tensor, temb: Tensor, *features: Tensor) -> Tensor:
        *skips, sample = features
        for block in self.up_blocks:
            count = len(block.resnets)
            skips, own = skips[:-count], skips[-count:]
            sample = block(
                hidden_states=sample,
                res_hidden_states_tuple=tuple(own),
                temb=temb,
                # Sides that were odd before they were halved are not their doubles.
                upsample_size=skips[-1].shape[2:] if skips else None,
                **_context(block, embeddings),
            )
        output = self.conv_out(sample if self.norm is None else self.act(self.norm(sample)))
        latents = self.step.from_noise * noise + self.step.from_output * output
        pictures: Tensor = (self.decode(latents) / 2 + 0.5).clamp(0, 1)
        return pictures


def _scaled(noise: Tensor, scale: float) -> Tensor:
    return noise if scale == 1.0 else noise * scale


def _context(block: nn.Module, embeddings: Tensor) -> dict[str, Tensor]:
    return {"encoder_hidden_states": embeddings} if getattr(block, "has_cross_attention", False) else {}
