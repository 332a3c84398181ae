"""Every full-size layout in half precision on a GPU, at 512² and 1024²; prints what a picture takes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipelines import SDXSPipeline, Settings
from pipelines.presets import Preset
from tests.pipelines.layouts import LAYOUTS, random_checkpoint

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
PICTURES = 10


@pytest.mark.parametrize("side", [512, 1024])
@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_paints_in_half_precision(name: str, side: int, tmp_path: Path) -> None:
    device = torch.device("cuda")
    checkpoint = random_checkpoint(LAYOUTS[name], tmp_path, device=device, dtype=torch.float16)
    pipe = SDXSPipeline(checkpoint, Preset(name=name, size=(side, side)), backend="eager", device=device)
    kinds = len(pipe.controls)
    settings = [Settings(prompt="a cat", control="canny" if kinds else "none")]
    maps = torch.zeros(1, kinds, side, side, dtype=torch.uint8, device=device)
    picture = pipe.paint_uint8(maps, settings)
    assert picture.shape == (1, side, side, 3)
    assert picture.float().std() > 0
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    for _ in range(PICTURES):
        pipe.paint_uint8(maps, settings)
    end.record()
    end.synchronize()
    where = torch.cuda.get_device_name(device)
    print(f"{name} at {side}×{side}, fp16, eager, {where}: {begin.elapsed_time(end) / PICTURES:.2f} ms a picture")
