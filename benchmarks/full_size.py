"""What a picture takes at a full-size layout, random weights: python benchmarks/full_size.py sdxs-512-dreamshaper

Nothing is fetched. Layouts: those of tests/pipelines/layouts.py. On a CUDA device in half precision, else in fp32.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from pipelines import SDXSPipeline, Settings
from pipelines.device import dtype_name, pick_device, pick_dtype
from pipelines.presets import Preset
from tests.pipelines.layouts import LAYOUTS, random_checkpoint

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("layout", choices=LAYOUTS)
parser.add_argument("--side", type=int, default=512)
parser.add_argument("--backend", default="auto")
parser.add_argument("--pictures", type=int, default=4)
options = parser.parse_args()

device = pick_device("auto")
preset = Preset(name=options.layout, size=(options.side, options.side))
dtype = pick_dtype(preset, device)
with tempfile.TemporaryDirectory() as workspace:
    checkpoint = random_checkpoint(LAYOUTS[options.layout], Path(workspace), device=device, dtype=dtype)
    pipe = SDXSPipeline(checkpoint, preset, backend=options.backend, device=device)
settings = [Settings(prompt="a cat", control="canny" if pipe.controls else "none")]
maps = torch.zeros(1, len(pipe.controls), options.side, options.side, dtype=torch.uint8, device=device)
start = time.perf_counter()
pipe.prepare(settings[0])
pipe.paint_uint8(maps, settings).cpu()
first = time.perf_counter() - start
times = []
for _ in range(options.pictures):
    start = time.perf_counter()
    pipe.paint_uint8(maps, settings).cpu()
    times.append(time.perf_counter() - start)
where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{platform.processor() or 'CPU'}"
print(
    f"{options.layout} at {options.side}x{options.side}, {dtype_name(dtype)}, {pipe.backend_name}, {where}: "
    f"first {first:.1f} s, then {sorted(times)[len(times) // 2]:.2f} s a picture"
)
