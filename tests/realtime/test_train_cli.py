"""``sdxs-live train`` and ``eval`` from outside: their sentences, their exit codes, and a run that is killed softly."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from pipelines.errors import TrainingStopped
from pipelines.training.evaluation.score import Score
from pipelines.training.recipes import RECIPES, find_recipe
from realtime import train_command
from realtime.cli import app
from realtime.errors import BadInput
from realtime.eval_command import score_table
from realtime.train_command import stages_of, with_controlnets
from tests.pipelines import tiny

pytestmark = pytest.mark.filterwarnings("ignore")  # third-party deprecations
runner = CliRunner()


def run(*arguments: object) -> tuple[int, str, str]:
    result = runner.invoke(app, [str(each) for each in arguments])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("SDXS_MODELS", str(tmp_path / "models"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tmp_path_factory.mktemp("model"))[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "paint", "--recipe", "debug", "--out", "x"], "no stage 'paint'; the stages are teacher, decoder"),
        (["train", "decoder", "--recipe", "sd3", "--out", "x"], "no recipe 'sd3'; the recipes are debug"),
        (["train", "decoder", "--recipe", "debug"], "--out DIR"),
        (["train", "teacher", "--recipe", "sd15-512", "--out", "x"], "has a teacher"),
        (["train", "all", "--recipe", "debug", "--out", "x", "--until", "5"], "--until goes with one stage"),
        (["train", "decoder", "--recipe", "debug", "--dry-run", "--gpu", "abacus"], "no figure for --gpu 'abacus'"),
        (["train", "teacher", "--recipe", "debug", "--out", "{tmp}/a", "--data", "nowhere"], "no data 'nowhere'"),
        (["train", "decoder", "--recipe", "sd15-512", "--out", "{tmp}/a"], "needs data: "),
        (["train", "decoder", "--recipe", "debug", "--out", "{tmp}/b"], "run `sdxs-live train teacher"),
        (["eval", "nowhere-to-be-found"], "no model 'nowhere-to-be-found'"),
        (["eval", "embedded", "--metrics", "beauty"], "no metric 'beauty'; there are edge-skill"),
    ],
)
def test_bad_input_is_one_clear_line(arguments: list[str], words: str, tmp_path: Path) -> None:
    exit_code, _, stderr = run(*(each.format(tmp=tmp_path) for each in arguments))
    assert exit_code == 2, stderr
    assert words in stderr
    assert stderr.count("\n") == 1
    assert stderr.startswith("sdxs-live: ")


def test_what_the_extra_installs_is_asked_for_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_command, "EXTRA", (*train_command.EXTRA, "no_such_package"))
    for command in (["train", "decoder", "--recipe", "debug", "--out", "x"], ["eval", "embedded"]):
        exit_code, _, stderr = run(*command)
        assert exit_code == 2
        assert "needs no_such_package: run pip install 'sdxs-live[train]'" in stderr


def test_the_extra_is_what_setup_cfg_installs() -> None:
    setup = (Path(__file__).parent.parent.parent / "setup.cfg").read_text(encoding="utf-8")
    extra = setup.split("\ntrain =\n")[1].split("\n#")[0].split("\n[")[0]
    installed = {line.strip().split(">")[0].replace("-", "_") for line in extra.splitlines() if line.startswith("    ")}
    assert installed == {"scikit_image" if name == "skimage" else name for name in train_command.EXTRA}


@pytest.mark.parametrize("name", ["debug", "shapes", "embedded", "sd15-512", "sd21-512", "sdxl-1024"])
def test_every_recipe_says_what_it_takes_without_a_network(name: str) -> None:
    assert set(RECIPES) == {"debug", "shapes", "embedded", "sd15-512", "sd21-512", "sdxl-1024"}
    exit_code, stdout, stderr = run("train", "decoder", "--recipe", name, "--dry-run", "--processes", "2")
    assert exit_code == 0, stderr
    for words in (
        f"recipe {name}",
        "plan.learning_rate",
        "memory a process",
        "GPU-hours",
        "2 × h100",
    ):
        assert words in stdout
    assert ("the teacher's samples" in stdout) == (name != "embedded"), "its decoder learns from encoded pictures"


def test_all_is_every_stage_that_the_recipe_has() -> None:
    every = ["teacher", "decoder", "unet", "one-step", "controlnet", "gan-finetune"]
    assert stages_of("all", find_recipe("debug")) == every
    assert stages_of("all", find_recipe("sd15-512")) == every[1:]
    assert stages_of("all", find_recipe("debug"), teacher="somebody/else") == every[1:]
    with pytest.raises(BadInput, match="no stage"):
        stages_of("", find_recipe("debug"))


def test_a_controlnet_takes_the_place_of_the_recipe_s() -> None:
    recipe = with_controlnets(find_recipe("sd15-512"), ["canny=my/net", "depth=other/net"])
    assert recipe.teacher_controlnets == ("canny=my/net", "depth=other/net")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of pictures with captions, one of them broken."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c", "d"):
        cv2.imwrite(str(folder / f"{name}.png"), rng.integers(0, 255, (70, 90, 3), np.uint8))
        (folder / f"{name}.txt").write_text(f"picture {name}")
    (folder / "broken.png").write_bytes(b"no picture")
    (folder / "broken.txt").write_text("broken")
    return folder


def quick(monkeypatch: pytest.MonkeyPatch, train: object) -> None:
    """The command around another loop."""
    module = SimpleNamespace(train=train, leave=lambda: None)
    monkeypatch.setitem(sys.modules, "pipelines.training.train", module)


def test_stages_follow_each_other_and_those_that_are_done_are_passed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trained: list[tuple[str, int | None]] = []

    def train(stage: str, run: object, *, until: int | None = None) -> None:
        trained.append((stage, until))
        folder = run.folder / stage / "model"  # type: ignore[attr-defined]
        folder.mkdir(parents=True)
        (folder / "model_index.json").write_text("{}")

    quick(monkeypatch, train)
    assert run("train", "teacher", "--recipe", "debug", "--out", tmp_path / "run")[0] == 0
    exit_code, stdout, _ = run("train", "all", "--recipe", "debug", "--out", tmp_path / "run")
    assert exit_code == 0
    assert [stage for stage, _ in trained] == list(stages_of("all", find_recipe("debug")))
    assert "teacher: done before" in stdout
    assert "gan-finetune: done, " in stdout
    assert run("train", "decoder", "--recipe", "debug", "--out", tmp_path / "other", "--until", 7)[0] == 0
    assert trained[-1] == ("decoder", 7)


def test_skipped_pictures_are_counted_and_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pictures: Path
) -> None:
    def train(stage: str, run: object, *, until: int | None = None) -> None:
        from pipelines.training.data.dataset import open_data

        for part in open_data(run.data, run.recipe.size):  # type: ignore[attr-defined]
            for index in range(len(part)):
                part.sample(index)

    quick(monkeypatch, train)
    exit_code, stdout, stderr = run(
        "train", "teacher", "--recipe", "debug", "--out", tmp_path / "x", "--data", pictures
    )
    assert exit_code == 0, stderr
    assert f"data: 1 skipped in {pictures}: broken.png is no picture that can be read" in stdout
    assert stdout.count("broken.png") == 1


@pytest.mark.parametrize(
    ("error", "words"), [(TrainingStopped("Stopped at step 3."), "step 3"), (KeyboardInterrupt(), "goes on")]
)
def test_who_stops_a_run_gets_130(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: BaseException, words: str
) -> None:
    def train(*_: object, **__: object) -> None:
        raise error

    quick(monkeypatch, train)
    exit_code, _, stderr = run("train", "teacher", "--recipe", "debug", "--out", tmp_path / "run")
    assert exit_code == 130
    assert words in stderr


def test_one_of_several_processes_speaks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RANK", "1")
    exit_code, stdout, stderr = run("train", "all", "--recipe", "debug", "--out", tmp_path / "x", "--until", "5")
    assert (exit_code, stdout, stderr) == (2, "", "")
    quick(monkeypatch, lambda *_, **__: None)
    assert run("train", "teacher", "--recipe", "debug", "--out", tmp_path / "run")[:2] == (0, "")


def started(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "realtime", *(str(each) for each in arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def test_ctrl_c_saves_and_the_same_command_goes_on(tmp_path: Path) -> None:
    """The true loop, on the debug recipe's first phase, stopped by a signal once its first line is logged."""
    out = tmp_path / "run"
    arguments = ["train", "teacher", "--recipe", "debug", "--out", out]
    with started(*arguments) as training:
        wait_for(lambda: any(out.rglob("log.jsonl")), training)
        training.send_signal(signal.SIGINT)
        _, stderr = training.communicate(timeout=120)
    assert training.returncode == 130, stderr
    assert any(out.rglob("checkpoints/step-*")), stderr
    exit_code, _, stderr = run(*arguments, "--until", "1")
    assert exit_code == 0, stderr


def wait_for(ready: Callable[[], bool], training: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 150
    while not ready():
        assert training.poll() is None, training.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.05)


# eval


def scores(*arguments: object) -> list[dict[str, object]]:
    exit_code, stdout, stderr = run("eval", *arguments, "--json", "--device", "cpu")
    assert exit_code == 0, stderr
    found: list[dict[str, object]] = json.loads(stdout)
    return found


def names(found: Sequence[dict[str, object]]) -> list[object]:
    return list(dict.fromkeys(each["metric"] for each in found))


def test_eval_measures_what_can_be_had(model: Path) -> None:
    found = scores(model, "--count", "2", "--prompt", "a", "--prompt", "b")
    frame = ["frame-error", "frame-error-input", "frame-ratio"]
    assert names(found) == ["edge-skill", "warp-error", "warp-error-input", "warp-ratio", *frame]
    skills = [each for each in found if each["metric"] == "edge-skill"]
    assert [each["about"] for each in skills] == ["a", "b", "mean of 2 styles, 2 pictures"]
    assert all(isinstance(each["value"], float) and each["value"] < 0.5 for each in skills), "random weights"
    assert scores(model, "--count", "2", "--prompt", "a", "--prompt", "b") == found, "the same again"


def test_eval_takes_styles_steps_and_a_judge(model: Path) -> None:
    chosen = ("--styles-of", "embedded", "--styles", "ink,neon", "--count", "2")
    found = scores(model, *chosen, "--steps", "2", "--judge", model, "--metrics", "edge-skill,styles,warp")
    skills = [each["about"] for each in found if each["metric"] == "edge-skill"]
    assert skills == ["Ink", "Neon", "mean of 2 styles, 2 pictures"]
    told = [each["about"] for each in found if each["metric"] == "style-accuracy"]
    assert told[2] == "mean of 2 styles, 4 pictures, judge trained on model's"
    worst = {each["part"]: each["about"] for each in found if each["metric"] == "warp-ratio"}
    assert str(worst["pan worst"]).startswith("pan, canny, steadiness 0.9, worst style: ")
    assert "still as painted worst" in worst
    unsteady = scores(model, *chosen, "--metrics", "warp", "--steadiness", "0")
    errors = {each["part"]: each["value"] for each in unsteady if each["metric"] == "warp-error"}
    assert errors["pan"] == errors["pan as painted"]
    steady = {each["part"]: each["value"] for each in found if each["metric"] == "warp-error"}
    assert steady["pan"] != steady["pan as painted"]


def test_eval_measures_seeds_strengths_and_colours(model: Path) -> None:
    found = scores(model, "--prompt", "a", "--count", "2", "--seeds", "2", "--metrics", "seeds,strengths,colours")
    numbers = {name: [each["value"] for each in found if each["metric"] == name] for name in names(found)}
    assert len(numbers["seed-ssim"]) == 2
    assert len(numbers["strength-skill"]) == 6
    assert len(numbers["colour-correlation"]) == 3
    assert numbers["strength-step"][0] > 0


def test_eval_compares_with_data(model: Path, pictures: Path) -> None:
    found = scores(model, "--data", "shapes", "--count", "12", "--metrics", "fid,kid,shapes", "--control", "canny")
    assert names(found) == ["fid", "kid", "obeyed-colour", "obeyed-form", "obeyed-ground", "obeyed-all"]
    assert found[0]["value"] > 0  # type: ignore[operator]
    (pictures / "broken.png").unlink()
    (pictures / "broken.txt").unlink()
    (own,) = scores(model, "--data", pictures, "--count", "3", "--metrics", "edge-skill")
    assert own["about"] == f"3 pictures of {pictures}"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--metrics", "fid"], "name some with --data"),
        (["--metrics", "fid", "--data", "{pictures}"], "FID and KID need a network's features"),
        (["--metrics", "depth"], "has no control 'depth'"),
        (["--metrics", "clip", "--clip-model", "{pictures}"], "give it as --clip-model DIR"),
        (["--metrics", "clip"], "needs a CLIP model: name one with --clip-model"),
        (["--metrics", "warp", "--video", "nowhere.mp4"], "is no video"),
        (["--metrics", "shapes", "--prompt", "ink"], "no caption of the drawn world"),
        (["--metrics", "clip", "--control", "depth"], "has no control 'depth'"),
        (["--guidance", "3"], "One step has no guidance"),
        (["--styles-of", "embedded", "--styles", "rust"], "--styles rust are not all among this model's: Ink"),
        (["--styles-of", "{model}"], "names no styles"),
        (["--metrics", "styles"], "give two at least"),
        (["--metrics", "colours", "--judge", "nowhere-to-be-found"], "no model 'nowhere-to-be-found'"),
    ],
)
def test_eval_says_what_is_missing(model: Path, pictures: Path, options: list[str], words: str) -> None:
    filled = [each.format(pictures=pictures, model=model) for each in options]
    exit_code, _, stderr = run("eval", model, "--count", "2", *filled)
    assert exit_code == 2, stderr
    assert words in stderr
    assert stderr.count("sdxs-live: ") == 1


def test_eval_prints_a_table() -> None:
    console = Console(record=True, width=120, file=io.StringIO())
    console.print(score_table([Score(metric="kid", value=0.012345, spread=0.001, better="lower", about="all")]))
    text = console.export_text()
    assert "0.01235 ± 0.001" in text or "0.01234 ± 0.001" in text
    assert "lower" in text
