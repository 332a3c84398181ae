"""The benchmarks at tiny length, on the real thing: contenders, parts, FLOPs, random weights, the report."""

from __future__ import annotations

import functools
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from pipelines import SDXSPipeline
from pipelines.backends import BACKENDS
from pipelines.controlnet import SDXS_512_SKETCH
from pipelines.settings import Settings
from pipelines.unet import SDXS_512
from realtime import bench
from realtime.bench import contenders, model, report
from realtime.bench.components import measure
from realtime.bench.errors import CantRun, need
from realtime.bench.flops import count_flops, count_layout
from realtime.bench.lines import Beforehand
from realtime.bench.picture import moving_picture
from realtime.bench.random_weights import LAYOUTS, write_model
from realtime.bench.timing import matrix_rate, milliseconds
from realtime.bench.turns import Outcome, Paint, take_turns
from realtime.bench.weights import ON_CPU, ON_GPU, Subject, subject
from realtime.cli import app
from realtime.errors import BadInput

CPU = torch.device("cpu")
KEYS = {"what", "timed", "date", "command", "commit", "machine", "subject", "rows", "tables", "figures", "skipped"}


@pytest.fixture(scope="module")
def tiny() -> Iterator[Subject]:
    with subject("random:tiny") as found:
        yield found


# Random weights.


@pytest.mark.parametrize("name", ["tiny", "embedded"])
def test_random_weights_are_finite_and_paint_in_half_precision(name: str, tmp_path: Path) -> None:
    folder = write_model(name, tmp_path)
    files = list(folder.rglob("*.safetensors"))
    assert len(files) == 4
    for file in files:
        for key, tensor in load_file(file).items():
            assert tensor.dtype == torch.float16, key
            assert torch.isfinite(tensor).all(), key
    pipe = SDXSPipeline.from_pretrained(folder, backend="eager", device="cpu", dtype=torch.float16)
    side = LAYOUTS[name].side
    maps = 255 * torch.randint(0, 2, (1, 1, side, side), dtype=torch.uint8)
    picture = pipe(maps[:, :, None].expand(-1, -1, 3, -1, -1) / 255, [pipe.preset.defaults])
    assert torch.isfinite(picture).all()
    assert picture.float().std() > 0.01, "it paints something"


def test_random_weights_have_the_true_layout_and_every_library_reads_them(tmp_path: Path) -> None:
    assert LAYOUTS["sdxs-512-dreamshaper"].unet is SDXS_512
    assert LAYOUTS["sdxs-512-dreamshaper"].control is SDXS_512_SKETCH
    folder = write_model("tiny", tmp_path, side=128)
    net = diffusers.ControlNetModel.from_pretrained(folder / "controlnet", dtype=torch.float32)
    pipe = diffusers.StableDiffusionControlNetPipeline.from_pretrained(
        folder, controlnet=net, safety_checker=None, dtype=torch.float32
    )
    pipe.set_progress_bar_config(disable=True)
    ours = SDXSPipeline.from_pretrained(folder, backend="eager", device="cpu")
    assert ours.size == (128, 128)
    settings = ours.preset.defaults.replace(seed=3)
    lines = torch.zeros(1, 3, 128, 128)
    lines[..., 40:80, 60:64] = 1
    expected = pipe(
        settings.prompt,
        image=1 - lines,
        num_inference_steps=1,
        guidance_scale=0.0,
        generator=torch.Generator().manual_seed(3),
        output_type="np",
    ).images[0]
    assert np.abs(ours(lines, [settings])[0].permute(1, 2, 0).numpy() - expected).max() < 1e-3


def test_what_is_measured_by_default_and_what_there_is_not() -> None:
    assert (ON_CPU, ON_GPU) == ("embedded", "random:sdxs-512-dreamshaper")
    with pytest.raises(BadInput, match="no layout 'nope'; there are sdxs-512-dreamshaper"), subject("random:nope"):
        pass
    with subject("random:tiny") as found:
        assert Path(found.name).is_dir()
        assert found.settings.kinds == ("canny",)
    assert not Path(found.name).exists(), "nothing is left behind"


# FLOPs, rates, memory.


def test_flops_are_those_of_the_design() -> None:
    full = count_layout(LAYOUTS["sdxs-512-dreamshaper"])
    assert [round(each / 1e9) for each in (full.unet, full.controlnet, full.decoder)] == [369, 147, 141]
    assert full.frame == full.unet + full.controlnet + full.decoder


def test_flops_of_a_model_that_is_here_are_those_of_its_layout(tiny: Subject) -> None:
    counted = count_flops(tiny.files(), tiny.preset.size)
    assert counted == count_layout(LAYOUTS["tiny"])
    larger = count_flops(tiny.files(), (2 * tiny.preset.size[0], tiny.preset.size[1]))
    assert larger.decoder == 2 * counted.decoder


def test_times_and_memory_are_measured() -> None:
    calls: list[int] = []
    times = milliseconds(lambda: calls.append(1), CPU, seconds=0.0)
    assert len(times) == len(calls) - 1 >= 3, "the first is a warm-up"
    assert matrix_rate(CPU, torch.float32, repeats=1) > 1e8


def test_the_peak_of_memory_is_measured() -> None:
    """In a process of its own: this one may have had its peak long ago."""
    program = """
import numpy as np
from realtime.bench.timing import peak_resident
before = peak_resident()
kept = np.ones(300_000_000, np.uint8)
print(peak_resident() - before)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=True)
    assert 200_000_000 < int(done.stdout) < 400_000_000


# Parts.


@pytest.mark.slow
def test_every_part_is_measured_at_every_batch_size(tiny: Subject) -> None:
    table = measure(tiny, seconds=0.0)
    names = list(dict.fromkeys(row["name"] for row in table.rows))
    assert names[:5] == ["text encoder", "condition (canny)", "ControlNet", "U-Net", "decoder"]
    assert names[-1].startswith("one frame, uint8 to uint8 (")
    assert [row["batch"] for row in table.rows] == [1, 2] * len(names)
    for row in table.rows:
        assert row["ms"] > 0
        assert (row["tflop_per_s"] is None) == (row["gflop_a_picture"] is None)
    share = {row["name"]: row["gflop_a_picture"] for row in table.rows}
    assert share[names[-1]] == pytest.approx(share["ControlNet"] + share["U-Net"] + share["decoder"], abs=0.002)


# Contenders.


def refuses(subject: Subject) -> Paint:
    raise ValueError("it is not\nfor this machine")


def ends(subject: Subject) -> Paint:
    raise SystemExit(3)


@pytest.mark.slow
def test_contenders_take_turns_and_who_can_not_run_says_why(tiny: Subject) -> None:
    makes = {
        "ours": functools.partial(contenders.ours_painter, backend="eager"),
        "theirs": contenders.diffusers_painter,
        "refuses": refuses,
        "ends": ends,
    }
    outcomes, skipped = take_turns(makes, tiny, 0.2)
    assert list(outcomes) == ["ours", "theirs"]
    for outcome in outcomes.values():
        assert len(outcome.milliseconds) >= 2
        assert all(ms > 0 for ms in outcome.milliseconds)
        assert outcome.peak_bytes > 100_000_000
    assert skipped == ["refuses: ValueError: it is not", "ends: its process ended; its message is above."]


@pytest.mark.slow
def test_diffusers_is_compared_on_the_embedded_model_in_a_process_of_its_own() -> None:
    with subject("embedded") as embedded:
        outcomes, skipped = take_turns({"theirs": contenders.diffusers_painter}, embedded, 0.1)
    assert list(outcomes) == ["theirs"], skipped


def test_who_is_never_ready_does_not_hold_the_others_up(tiny: Subject) -> None:
    outcomes, skipped = take_turns({"slow": functools.partial(contenders.demo_painter)}, tiny, 0.1, ready_seconds=0.0)
    assert not outcomes
    assert skipped == ["slow: it was not ready after 1 s of loading and compiling."]


def test_all_contenders_paint_the_same_picture(tiny: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo's own noise differs, so it is only looked at."""
    # The compiler itself is not what is tested here, and takes minutes.
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    image = moving_picture(3, *tiny.preset.size)
    pictures = {
        make.__name__: np.asarray(make(tiny)(image)).astype(int)
        for make in (contenders.diffusers_painter, contenders.compiled_painter, contenders.demo_painter)
    }
    ours = np.asarray(contenders.ours_painter(tiny, backend="eager")(image)).astype(int)
    assert ours.std() > 5
    assert np.abs(ours - pictures["diffusers_painter"]).max() <= 1
    assert np.abs(ours - pictures["compiled_painter"]).max() <= 1
    assert pictures["demo_painter"].shape == ours.shape


def test_the_backends_that_there_are_take_part() -> None:
    names = list(contenders.contenders())
    assert [name for name in names if name.startswith("sdxs-live ")] == [
        f"sdxs-live {name}" for name in BACKENDS if name not in ("auto", "compiled-quick")
    ]
    assert names[-3:] == [contenders.DIFFUSERS, contenders.COMPILED, contenders.DEMO]


def test_without_a_compiler_torch_compile_says_so(tiny: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(CantRun, match=r"needs a C\+\+ compiler"):
        contenders.compiled_painter(tiny)


# The report.


def check_schema(found: dict[str, Any]) -> None:
    """What every benchmark's JSON has."""
    assert set(found) == KEYS
    assert {"processor", "cores", "device", "versions", "load_before", "system", "memory_gb"} <= set(found["machine"])
    assert found["timed"]
    assert found["command"]
    assert found["subject"]["model"]
    for row in found["rows"]:
        assert {"name", "count", "p50_ms", "p95_ms", "note"} <= set(row)
    for table in found["tables"]:
        assert set(table) == {"name", "about", "rows"}
        assert table["rows"]
    assert "NaN" not in json.dumps(found)


@pytest.mark.slow
def test_the_model_benchmark_writes_its_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    only = {
        "sdxs-live eager": functools.partial(contenders.ours_painter, backend="eager"),
        contenders.DIFFUSERS: contenders.diffusers_painter,
        "broken": refuses,
    }
    target = tmp_path / "new" / "model.json"
    bench.main("model", target, model="random:tiny", seconds=0.2, only=only, parts=False)
    found = json.loads(target.read_text(encoding="utf-8"))
    check_schema(found)
    ours, theirs = found["rows"]
    assert theirs["times_diffusers"] == 1.0
    assert ours["times_diffusers"] == pytest.approx(theirs["p50_ms"] / ours["p50_ms"], abs=0.01)
    assert found["figures"]["quickest, exact"] == "sdxs-live eager"
    assert found["skipped"] == ["broken: ValueError: it is not"]
    printed = capsys.readouterr().out
    assert "diffusers" in printed
    assert "Skipped: broken" in printed


def test_int8_has_figures_of_its_own() -> None:
    times = {"sdxs-live openvino": 30.0, "sdxs-live openvino-int8": 10.0, contenders.DIFFUSERS: 60.0}
    outcomes = {name: Outcome(milliseconds=[ms], peak_bytes=1) for name, ms in times.items()}
    figures = model._figures(outcomes)
    assert (figures["frames/s, exact"], figures["times diffusers, exact"]) == (33.3, 2.0)
    assert (figures["frames/s, int8"], figures["times diffusers, int8"]) == (100.0, 6.0)


def test_nobody_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(CantRun, match="None of the contenders runs here: broken: ValueError"):
        model.run(model="random:tiny", only={"broken": refuses}, parts=False)


def test_percentiles_and_what_was_not_measured() -> None:
    assert report.percentile([1.0, 2.0, 3.0], 50) == 2.0
    assert report.percentile([5.0], 95) == 5.0
    assert math.isnan(report.percentile([], 50))
    assert report.Row(name="nothing", milliseconds=[]).as_dict()["p50_ms"] is None
    assert [report.shown(each) for each in (None, 12345.6, 1.23456, 7, "word")] == ["", "12,346", "1.235", "7", "word"]


def test_maps_are_drawn_beforehand_where_canny_can_not_be() -> None:
    beforehand = Beforehand()
    first = beforehand(moving_picture(0, 64, 96), Settings()).map
    assert first.shape == (64, 96)
    assert set(np.unique(first)) == {0, 255}
    assert beforehand(moving_picture(9, 64, 96), Settings()).map is first


def test_what_is_missing_is_named() -> None:
    need("torch", "numpy")
    with pytest.raises(CantRun, match="no-such-package, nor-this can't be imported"):
        need("torch", "no-such-package", "nor-this")


# The command line.


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nope"], "no benchmark 'nope'; there are model, loop"),
        (["loop", "--painter", "simulated:4ms"], "The benchmark loop takes no --painter"),
        (["sessions", "--painter", "slow"], "--painter 'slow' is no painter"),
        (["model", "--model", "random:nope"], "no layout 'nope'"),
    ],
)
def test_bad_input_is_one_clear_line(arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(app, ["bench", *arguments])
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
