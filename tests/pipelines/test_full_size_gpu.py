"""Every full-size layout in half precision on a GPU, at 512² and 1024²; prints what a picture takes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipelines import SDXSPipeline
from realtime.bench.random_weights import LAYOUTS, write_model
from realtime.bench.timing import milliseconds

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
SECONDS = 0.5


@pytest.mark.parametrize("side", [512, 1024])
@pytest.mark.parametrize("name", [name for name in LAYOUTS if name not in ("embedded", "tiny")])
def test_every_layout_paints_in_half_precision(name: str, side: int, tmp_path: Path) -> None:
    device = torch.device("cuda")
    folder = write_model(name, tmp_path, device=device, side=side)
    pipe = SDXSPipeline.from_pretrained(folder, backend="eager", device="cuda")
    settings = [pipe.preset.defaults]
    maps = torch.zeros(1, len(settings[0].kinds), side, side, dtype=torch.uint8, device=device)
    picture = pipe.paint_uint8(maps, settings)
    assert picture.shape == (1, side, side, 3)
    assert picture.float().std() > 0
    times = sorted(milliseconds(lambda: pipe.paint_uint8(maps, settings), device, seconds=SECONDS))
    where = torch.cuda.get_device_name(device)
    print(f"{name} at {side}×{side}, fp16, eager, {where}: {times[len(times) // 2]:.2f} ms a picture")
