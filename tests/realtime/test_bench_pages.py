"""The pages say what the JSON files say, and the one command for all skips what can't be done."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from realtime.bench import e2e
from realtime.bench.report import Report, Row, Table
from tests.realtime.test_bench import check_schema
from tests.realtime.test_bench_loop import ROOT, script

RESULTS = ROOT / "benchmarks" / "results"
tables = script("benchmarks/tables.py")
run = script("benchmarks/run.py")


@pytest.mark.parametrize("page", tables.PAGES, ids=lambda page: page.name)
def test_the_tables_are_those_of_the_json(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert len(tables.MARKED.findall(text)) >= 2
    assert tables.render(text) == text, "write them anew: python benchmarks/tables.py"


def test_every_result_that_is_kept_says_what_made_it() -> None:
    for file in (file for file in RESULTS.rglob("*.json") if file.name != "trace.json"):
        found = json.loads(file.read_text(encoding="utf-8"))
        check_schema(found)
        assert found["what"] == file.stem
        assert "python benchmarks/run.py" in found["command"] or "sdxs-live bench" in found["command"], file
        assert found["commit"]
        assert (file.parent.name == "cpu") == (found["machine"]["device"] == "no GPU")


def _result(folder: Path, what: str, p50: float) -> None:
    more = {"frames_per_s": 1000 / p50, "times_diffusers": 2.0, "peak_memory_mb": 900}
    part = {"name": "one frame (compiled)", "batch": 8, "ms": 4.0, "pictures_per_s": 2000.0, "gflop_a_picture": 1.0}
    report = Report(
        what=what,
        timed="a test",
        subject={"model": "made up", "size": "8x8"},
        rows=[Row(name="sdxs-live eager", milliseconds=[p50], more=more)],
        figures={"frames/s, exact": 1000 / p50},
        tables=[Table(name="parts of a picture", about="none", rows=[{**part, "tflop_per_s": 1.0} | SHARE])],
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{what}.json").write_text(json.dumps(report.as_dict()), encoding="utf-8")


SHARE = {"share_of_matrix_rate": "5%"}


def test_a_page_is_made_from_what_there_is(tmp_path: Path) -> None:
    page = "Before.\n<!-- bench:model -->\nold\n<!-- /bench -->\n<!-- bench:loop -->\n<!-- /bench -->\nAfter.\n"
    empty = tables.render(page, tmp_path)
    assert "old" not in empty
    assert empty.count("Not measured yet.") == 2
    _result(tmp_path / "cpu", "model", 12.5)
    made = tables.render(page, tmp_path)
    assert "| sdxs-live eager | 12.5 | 12.5 | 80.0 | 2.00 | 900 |" in made
    assert made.startswith("Before.\n")
    assert made.endswith("After.\n")
    assert tables.render(made, tmp_path) == made
    with pytest.raises(KeyError, match="nonsense"):
        tables.render(page.replace("loop", "nonsense"), tmp_path)


def test_gpu_figures_are_to_be_taken_until_there_are_some(tmp_path: Path) -> None:
    page = "<!-- bench:targets -->\n<!-- /bench -->\n<!-- bench:gpu -->\n<!-- /bench -->\n"
    (tmp_path / "cpu").mkdir()
    before = tables.render(page, tmp_path)
    assert "No GPU was at hand" in before
    h100 = [line for line in before.splitlines() if "batch 1: ms" in line or "batch 8" in line]
    assert all(line.endswith("| to be taken |") for line in h100)
    _result(tmp_path / "nvidia-h100", "model", 2.4)
    after = tables.render(page, tmp_path)
    assert "**nvidia-h100**" in after
    assert "batch 1: ms | 4 | 2.5 | 2.4 |" in after
    assert "batch 8: frames/s | 450 | 600 | 2,000.0 |" in after


def test_results_of_a_device_go_to_a_folder_of_its_name() -> None:
    assert run.folder_name("no GPU") == "cpu"
    assert run.folder_name("NVIDIA H100 80GB HBM3, CUDA 13.0") == "nvidia-h100-80gb-hbm3"


def test_what_can_not_be_done_is_skipped_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CHROMIUM", "/no/such/browser")
    monkeypatch.setattr("sys.argv", ["run.py", "e2e", "--model", "random:tiny", "--into", str(tmp_path)])
    assert run.run() == 1, "nothing could be done at all"
    assert "e2e is skipped: /no/such/browser is not here" in capsys.readouterr().out
    assert not list(tmp_path.glob("*.json"))


@pytest.mark.slow
def test_all_that_can_be_done_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHROMIUM", "/no/such/browser")
    options = ["loop", "e2e", "memory", "--model", "random:tiny", "--scale", "0.02", "--into", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["run.py", *options])
    assert run.run() == 0
    assert {file.name for file in tmp_path.iterdir()} == {"loop.json", "memory.json", "trace.json"}
    for name in ("loop", "memory"):
        check_schema(json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8")))


@pytest.mark.browser
@pytest.mark.slow
def test_camera_to_display_is_measured_in_a_browser() -> None:
    report = e2e.run(model="random:embedded", seconds=3.0)
    check_schema(report.as_dict())
    age, without = report.rows
    assert len(age.milliseconds) > 10
    assert all(0 < ms < 5000 for ms in age.milliseconds)
    assert sum(without.milliseconds) < sum(age.milliseconds)
    assert report.figures["in order"] == "True"
    (shares,) = report.tables
    total = sum(float(row["ms"] or 0) for row in shares.rows)
    assert total == pytest.approx(report.as_dict()["rows"][0]["p50_ms"], abs=1.0), "the parts make up the whole"


BARE = """
import importlib.machinery, runpy, sys

ABSENT = {"av", "aiortc", "aiohttp", "controlnet_aux", "openvino", "playwright"}
Finder = importlib.machinery.PathFinder
find_spec = Finder.find_spec
Finder.find_spec = lambda name, *rest: None if name.split(".")[0] in ABSENT else find_spec(name, *rest)
sys.argv = ["benchmarks/run.py", *sys.argv[1:]]
runpy.run_path("benchmarks/run.py", run_name="__main__")
"""


@pytest.mark.slow
def test_a_bare_machine_does_what_it_can_and_says_what_it_lacks(tmp_path: Path) -> None:
    """As on a GPU machine that has torch and diffusers and no more."""
    what = ["loop", "memory", "start", "e2e"]
    options = ["--model", "random:tiny", "--scale", "0.02", "--into", str(tmp_path)]
    command = [sys.executable, "-c", BARE, *what, *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=170)
    lines = [line for line in done.stdout.splitlines() if " is skipped: " in line]
    assert [line.split()[0] for line in lines] == ["start", "e2e"], done.stderr
    assert all("can't be imported here" in line for line in lines)
    assert "Traceback" not in done.stderr
    assert {file.stem for file in tmp_path.iterdir()} == {"loop", "memory", "trace"}
    assert "eager, as OpenVINO is not installed" in done.stderr
