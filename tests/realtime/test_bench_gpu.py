"""The benchmarks where there is a GPU: events, graphs, every part, the loop with three streams."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from realtime import bench
from realtime.bench.components import GPU_BATCHES, measure
from realtime.bench.timing import as_graph, matrix_rate, milliseconds, peak_memory
from realtime.bench.weights import ON_GPU, subject
from tests.realtime.test_bench import check_schema

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


def test_work_becomes_one_graph_and_is_timed_by_events() -> None:
    device = torch.device("cuda")
    left, out = torch.randn(512, 512, device=device), torch.empty(512, 512, device=device)
    work, how = as_graph(lambda: torch.mm(left, left, out=out), device)
    assert how == "CUDA graph"
    out.zero_()
    times = milliseconds(work, device, seconds=0.05)
    assert torch.allclose(out, left @ left, atol=1e-2)
    assert len(times) >= 3
    assert all(ms > 0 for ms in times)
    assert matrix_rate(device, torch.float16, repeats=3) > matrix_rate(device, torch.float32, repeats=3) * 0.5
    assert peak_memory(device) >= left.numel() * 4


def test_every_part_is_measured_at_every_batch_size() -> None:
    with subject("random:tiny") as what:
        table = measure(what, seconds=0.01, whole_seconds=0.0)
    names = list(dict.fromkeys(row["name"] for row in table.rows))
    assert [row["batch"] for row in table.rows if row["name"] == "U-Net"] == list(GPU_BATCHES)
    assert {"text encoder", "ControlNet", "U-Net", "decoder"} <= set(names)
    assert all(row["ms"] > 0 for row in table.rows)


def test_random_weights_of_sdxs_512_paint_in_half_precision() -> None:
    from pipelines import SDXSPipeline

    with subject() as what:
        assert what.preset.name == ON_GPU
        pipe = SDXSPipeline.from_pretrained(what.name, backend="eager")
        maps = 255 * torch.randint(0, 2, (1, 1, 512, 512), dtype=torch.uint8, device="cuda")
        picture = pipe(maps[:, :, None].expand(-1, -1, 3, -1, -1) / 255, [what.settings])
    assert torch.isfinite(picture).all()
    assert picture.float().std() > 0.01


@pytest.mark.slow
def test_the_loop_is_traced_on_three_streams(tmp_path: Path) -> None:
    bench.main("loop", tmp_path / "loop.json", model="random:tiny", seconds=1.0, trace=tmp_path / "trace.json")
    check_schema(json.loads((tmp_path / "loop.json").read_text(encoding="utf-8")))
    events = json.loads((tmp_path / "trace.json").read_text(encoding="utf-8"))["traceEvents"]
    assert {"upload", "compute", "download"} <= {event["name"] for event in events}
