"""Bytes to numbers and back: exact where it can be, and in the colours that a video encoder expects."""

from __future__ import annotations

import av
import numpy as np
import pytest
import torch

from pipelines import SDXSPipeline, Settings
from pipelines.frame_graph import to_bytes, to_control

PROMPTS = (Settings(prompt="ink drawing", seed=1), Settings(prompt="neon lights", seed=2, conditioning_scale=0.5))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_polarity_is_exact(dtype: torch.dtype) -> None:
    every = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 2, 16, 16)
    control = to_control(every, torch.tensor([[0.0, 255.0]]), dtype)
    assert control.shape == (1, 2, 3, 16, 16)
    assert torch.equal(control[0, 0, 1], every[0, 0].to(dtype) / 255)
    assert torch.equal(control[0, 1, 2], (255 - every[0, 0]).to(dtype) / 255)


def test_rgb_rounds_to_the_nearest() -> None:
    values = torch.tensor([0.0, 0.499 / 255, 0.501 / 255, 1.0]).view(1, 1, 2, 2).expand(1, 3, 2, 2)
    assert to_bytes(values, "rgb", (2, 2))[0, ..., 0].flatten().tolist() == [0, 0, 1, 255]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_planes_are_what_libswscale_makes(dtype: torch.dtype) -> None:
    # Flat pictures: how colour is filtered at an edge is libswscale's own business.
    for colour in np.random.default_rng(3).integers(0, 256, (40, 3), np.uint8):
        rgb = np.broadcast_to(colour, (16, 32, 3)).copy()
        expected = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format="yuv420p").to_ndarray()
        pictures = torch.from_numpy(rgb).permute(2, 0, 1)[None].to(dtype) / 255
        planes = to_bytes(pictures, "yuv", (16, 32))[0].numpy()
        assert planes.shape == expected.shape == (24, 32)
        assert np.abs(planes.astype(int) - expected.astype(int)).max() <= 1


def test_planes_lie_as_libswscale_lays_them() -> None:
    """Four quarters of four colours: every plane has its own value in each quarter."""
    rgb = np.zeros((32, 64, 3), np.uint8)
    rgb[:16, :32], rgb[:16, 32:], rgb[16:, :32], rgb[16:, 32:] = (200, 30, 30), (30, 180, 60), (40, 50, 220), 128
    expected = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format="yuv420p").to_ndarray()
    planes = to_bytes(torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255, "yuv", (32, 64))[0].numpy()
    assert np.median(np.abs(planes.astype(int) - expected.astype(int))) <= 1
    assert np.mean(np.abs(planes.astype(int) - expected.astype(int)) > 2) < 0.1, "only beside the edges"


def test_white_and_black_are_the_ends_of_the_video_range() -> None:
    assert to_bytes(torch.ones(1, 3, 4, 4), "yuv", (4, 4))[0, :4].unique().tolist() == [235]
    assert to_bytes(torch.zeros(1, 3, 4, 4), "yuv", (4, 4))[0, :4].unique().tolist() == [16]


@pytest.mark.parametrize("backend", ["eager", "openvino"])
def test_frames_are_the_pictures_of_the_call(backend: str) -> None:
    pipe = SDXSPipeline.from_pretrained("embedded", backend=backend, device="cpu")
    maps = (torch.rand(2, 1, 128, 192, generator=torch.Generator().manual_seed(1)) > 0.9).to(torch.uint8) * 255
    pictures = pipe(maps.float().div(255).expand(-1, 3, -1, -1), PROMPTS)
    pipe.size = (128, 192)
    frames = pipe.paint_uint8(maps, PROMPTS)
    # A compiled graph sums in another order for bytes than for numbers.
    assert (frames.int() - to_bytes(pictures, "rgb", (128, 192)).int()).abs().max() <= 1
    planes = pipe.paint_uint8(maps, PROMPTS, form="yuv")
    assert (planes.int() - to_bytes(pictures, "yuv", (128, 192)).int()).abs().max() <= 1


def test_smaller_maps_come_back_at_full_size() -> None:
    pipe = SDXSPipeline.from_pretrained("embedded", backend="eager", device="cpu")
    assert pipe.sizes == [(256, 256), (192, 192), (128, 128)]
    maps = torch.zeros(1, 1, 128, 128, dtype=torch.uint8)
    maps[0, 0, 40:80, 64] = 255
    small = pipe(maps.float().div(255).expand(-1, 3, -1, -1), PROMPTS[:1])
    frames = pipe.paint_uint8(maps, PROMPTS[:1])
    assert frames.shape == (1, 256, 256, 3)
    shrunk = torch.nn.functional.avg_pool2d(frames.permute(0, 3, 1, 2).float(), 2) / 255
    assert (shrunk - small).abs().mean() < 0.02
