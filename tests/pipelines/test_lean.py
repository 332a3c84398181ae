"""Merged layers answer what the layers they are made of answer, to the last pixel of the border."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderTiny
from torch import nn

from pipelines import SDXSPipeline
from pipelines.backends.lean import DoublingEnd, grey, shorten_decoder
from pipelines.fold import Folded
from tests.pipelines import tiny


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 5), (2, 2), (7, 4)])
@pytest.mark.parametrize("bias", [True, False])
def test_two_convolutions_after_a_doubling_are_one(height: int, width: int, bias: bool) -> None:
    torch.manual_seed(height)
    first, second = nn.Conv2d(6, 5, 3, padding=1, bias=False), nn.Conv2d(5, 3, 3, padding=1, bias=bias)
    small = torch.randn(2, 6, height, width)
    with torch.inference_mode():
        expected = second(first(nn.Upsample(scale_factor=2)(small)))
        merged = DoublingEnd(first, second)(small)
    assert merged.shape == expected.shape
    assert (merged - expected).abs().max() < 1e-5


def test_a_tiny_decoder_without_a_last_block_ends_like_that(saved: tuple[Any, Path]) -> None:
    graph = Folded(SDXSPipeline.from_pretrained(saved[1], backend="eager", device="cpu")._graph).graph
    ends = AutoencoderTiny(latent_channels=graph.latent_channels, num_decoder_blocks=(1, 0, 0, 0))
    graph.decode.vae.decoder = ends.decoder.eval()
    latents = torch.randn(1, graph.latent_channels, 6, 8, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = graph.decode(latents)
        shorten_decoder(graph)
        assert isinstance(graph.decode.vae.decoder.layers[-1], DoublingEnd)
        assert (graph.decode(latents) - expected).abs().max() < 1e-5


def test_a_decoder_with_something_between_is_left_alone(saved: tuple[Any, Path]) -> None:
    graph = SDXSPipeline.from_pretrained(saved[1], backend="eager", device="cpu")._graph
    layers = graph.decode.vae.decoder.layers
    shorten_decoder(graph)
    assert graph.decode.vae.decoder.layers is layers


def test_a_grey_map_needs_one_channel() -> None:
    torch.manual_seed(1)
    net = tiny.controlnet().eval()
    embedding = net.controlnet_cond_embedding
    maps = torch.rand(2, 1, 32, 64)
    with torch.inference_mode():
        expected = embedding(maps.expand(-1, 3, -1, -1))
        assert (grey(net).controlnet_cond_embedding(maps) - expected).abs().max() < 1e-5
        assert torch.equal(embedding(maps.expand(-1, 3, -1, -1)), expected), "the original takes three as before"
    own = {id(each) for each in net.parameters()}
    assert sum(id(each) not in own for each in grey(net).parameters()) == 1
