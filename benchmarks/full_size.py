"""What a picture takes at a full-size layout, random weights: python benchmarks/full_size.py sdxs-512-dreamshaper

Nothing is fetched. Layouts: realtime/bench/random_weights.py. On a CUDA device in half precision, else in fp32.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from pipelines import SDXSPipeline
from pipelines.device import dtype_name
from realtime.bench.environment import machine
from realtime.bench.random_weights import LAYOUTS, write_model

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("layout", choices=LAYOUTS)
parser.add_argument("--side", type=int, default=512)
parser.add_argument("--backend", default="auto")
parser.add_argument("--pictures", type=int, default=4)
options = parser.parse_args()

with tempfile.TemporaryDirectory() as workspace:
    model = write_model(options.layout, Path(workspace), side=options.side)
    pipe = SDXSPipeline.from_pretrained(model, backend=options.backend)
settings = [pipe.preset.defaults]
shape = (1, len(settings[0].kinds), options.side, options.side)
maps = torch.zeros(shape, dtype=torch.uint8, device=pipe.device)
start = time.perf_counter()
pipe.prepare(settings[0])
pipe.paint_uint8(maps, settings).cpu()
first = time.perf_counter() - start
times = []
for _ in range(options.pictures):
    start = time.perf_counter()
    pipe.paint_uint8(maps, settings).cpu()
    times.append(time.perf_counter() - start)
about = machine()
where = about["device"] if pipe.device.type == "cuda" else about["processor"]
print(
    f"{options.layout} at {options.side}x{options.side}, {dtype_name(pipe.dtype)}, {pipe.backend_name}, {where}: "
    f"first {first:.1f} s, then {sorted(times)[len(times) // 2]:.2f} s a picture"
)
