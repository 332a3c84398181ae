"""The command line: what it says, what it returns, and that it ends."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import psutil
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from realtime import doctor
from realtime.choose import choose_model
from realtime.cli import app
from tests.pipelines import tiny
from tests.pipelines.fake_hub import FakeHub, files_of

runner = CliRunner()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory of the true layout with random weights."""
    _, directory = tiny.save(tmp_path_factory.mktemp("model"))
    return directory


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    image = np.zeros((90, 120, 3), np.uint8)
    cv2.circle(image, (60, 45), 30, (40, 200, 250), -1)
    cv2.imwrite(str(path), image)
    return path


def run(*arguments: object) -> tuple[int, str, str]:
    result = runner.invoke(app, [str(each) for each in arguments])
    return result.exit_code, result.stdout, result.stderr


# Errors: one line on stderr, 2 for bad input, 1 for a failure.


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["serve", "--port", "70000"], 2, "--port 70000"),
        (["serve", "--host", "no.such.host.invalid"], 2, "no address of this machine"),
        (["serve", "--host", "203.0.113.7"], 1, "Can't listen on 203.0.113.7"),
        (["serve", "--tls-cert", "missing.pem", "--tls-key", "missing.pem", "--port", "0"], 2, "missing.pem"),
        (["serve", "--tls-cert", "missing.pem"], 2, "both --tls-cert and --tls-key"),
        (["serve", "--port", "0", "--source", "nowhere.mp4"], 2, "nowhere.mp4"),
        (["serve", "--port", "0", "--model", "nope"], 2, "no model 'nope'"),
        (["serve", "--port", "0", "--device", "cuda:99"], 2, "'cuda:99' is not here"),
        (["serve", "--port", "0", "--device", "toaster"], 2, "no device 'toaster'"),
        (["image", "nowhere.png", "out.png"], 2, "nowhere.png can't be read"),
        (["image", "-", "out.txt"], 2, "no picture format"),
        (["image", "-", "no/such/folder/out.png"], 2, "no folder"),
        (["image", "-", "out.png", "--size", "big"], 2, "--size 'big'"),
        (["image", "-", "out.png", "--model", "nope"], 2, "no model 'nope'"),
        (["serve", "--port", "0", "--size", "big"], 2, "--size 'big'"),
        (["serve", "--port", "0", "--dtype", "fp8"], 2, "--dtype 'fp8'"),
        (["serve", "--port", "0", "--control", "pose"], 2, "--control 'pose'"),
        (["serve", "--port", "0", "--model", "sdxs-1024"], 1, "never released"),
        (["serve", "--port", "0", "--model", "embedded", "--controlnet", "canny"], 2, "NAME=REPO_OR_PATH"),
        (["image", "-", "out.png", "--lora", "style=nowhere.safetensors"], 2, "'nowhere.safetensors' is neither"),
        (["image", "-", "out.png", "--set", "blend"], 2, "--set 'blend' is not NAME=VALUE"),
        (["image", "-", "out.png", "--set", "extra_controls=depth"], 2, "is not KIND:SCALE"),
        (["models", "pull", "nope"], 2, "no model 'nope'"),
        (["models", "pull", "sdxs-1024"], 1, "training it from SDXL"),
    ],
)
def test_an_error_is_one_clear_line(arguments: list[str], code: int, words: str) -> None:
    exit_code, _, stderr = run(*arguments)
    assert exit_code == code
    assert words in stderr
    assert stderr.count("\n") == 1
    assert stderr.startswith("sdxs-live: ")
    assert stderr.endswith(".\n") or "?" in stderr


def test_a_port_in_use_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        exit_code, _, stderr = run("serve", "--port", port)
    assert exit_code == 1
    assert f"port {port}" in stderr
    assert stderr.count("\n") == 1


def test_a_key_that_is_not_the_certificate_s_is_one_clear_line(tmp_path: Path) -> None:
    broken = tmp_path / "cert.pem"
    broken.write_text("not a certificate")
    exit_code, _, stderr = run("serve", "--port", "0", "--tls-cert", broken, "--tls-key", broken)
    assert exit_code == 2
    assert "no certificate with its key" in stderr


def test_broken_weights_are_a_failure_that_names_the_file(tmp_path: Path) -> None:
    _, directory = tiny.save(tmp_path)
    weights = directory / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    for arguments in (["serve", "--port", "0"], ["image", "-", tmp_path / "out.png"]):
        exit_code, _, stderr = run(*arguments, "--model", directory, "--backend", "eager")
        assert exit_code == 1
        assert str(weights) in stderr
        assert stderr.count("\n") == 1


@pytest.mark.parametrize(
    "command", [[], ["serve"], ["image"], ["video"], ["models"], ["models", "pull"], ["doctor"], ["bench"]]
)
def test_every_command_explains_itself(command: list[str]) -> None:
    exit_code, stdout, _ = run(*command, "--help")
    assert exit_code == 0
    assert "Usage" in stdout


def test_help_and_bad_options_load_no_heavy_library() -> None:
    code = """
import sys
from typer.testing import CliRunner
from realtime.cli import app
assert CliRunner().invoke(app, ["--help"]).exit_code == 0
assert CliRunner().invoke(app, ["serve", "--port", "x"]).exit_code == 2
print([name for name in ("torch", "diffusers", "av", "aiortc", "aiohttp", "cv2", "numpy") if name in sys.modules])
"""
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert output.stdout.strip() == "[]"


def test_the_page_is_served_before_the_model_s_libraries_are_imported() -> None:
    """They take seconds; the inference thread imports them while the page is there already."""
    code = """
import sys
from realtime.choose import check_names
from realtime.config import make
from realtime.serve import build
check_names("embedded")
build(make(model="embedded"))
print([name for name in ("torch", "diffusers", "transformers", "openvino", "controlnet_aux") if name in sys.modules])
"""
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert output.stdout.strip() == "[]"


# What the commands do.


def test_image_paints_a_picture(model: Path, photo: Path, tmp_path: Path) -> None:
    target = tmp_path / "painted.png"
    options = ["--model", model, "--backend", "eager", "--prompt", "ink"]
    assert run("image", photo, target, *options)[0] == 0
    first = cv2.imread(str(target))
    assert first.shape == (128, 128, 3)
    assert run("image", photo, target, *options, "--seed", 5, "--strength", 0.5, "--size", "96x64")[0] == 0
    assert cv2.imread(str(target)).shape == (64, 96, 3)
    assert run("image", photo, target, *options)[0] == 0
    assert (cv2.imread(str(target)) == first).all(), "the same settings give the same picture"
    assert run("image", photo, target, *options, "--seed", 5)[0] == 0
    assert (cv2.imread(str(target)) != first).any()


def test_image_without_a_picture_paints_from_the_text(model: Path, photo: Path, tmp_path: Path) -> None:
    pictures = []
    for prompt in ("ink", "neon"):
        target = tmp_path / f"{prompt}.png"
        assert run("image", "-", target, "--model", model, "--backend", "eager", "--prompt", prompt)[0] == 0
        pictures.append(cv2.imread(str(target)))
    assert (pictures[0] != pictures[1]).any()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_image_runs_the_embedded_model_as_it_comes(photo: Path, tmp_path: Path) -> None:
    target = tmp_path / "painted.jpg"
    code, _, stderr = run("image", photo, target)
    assert code == 0, stderr
    painted = cv2.imread(str(target))
    assert painted.shape == (256, 256, 3)
    assert painted.std() > 5, "a picture, not a flat colour"


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_image_paints_from_a_given_depth(tmp_path: Path) -> None:
    """The embedded model's third control, without any network that would have to be fetched."""
    depth, target = tmp_path / "depth.png", tmp_path / "painted.png"
    cv2.imwrite(str(depth), cv2.circle(np.zeros((256, 256), np.uint8), (128, 128), 70, 220, -1, cv2.LINE_AA))
    options = ["--backend", "eager", "--prompt", "ink drawing", "--control", "depth"]
    code, _, stderr = run("image", depth, target, *options, "--set", "depth_estimator=given")
    assert code == 0, stderr
    painted = cv2.imread(str(target), cv2.IMREAD_GRAYSCALE)
    ring = cv2.circle(np.zeros((256, 256), np.uint8), (128, 128), 70, 255, 5) > 0
    assert painted[ring].mean() + 25 < painted[~ring].mean(), "its outline is drawn"


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [("--strength", "9", "conditioning_scale is 9"), ("--seed", "-1", "seed is -1"), ("--size", "100", "32")],
)
def test_image_says_what_is_out_of_range(
    model: Path, photo: Path, tmp_path: Path, option: str, value: str, words: str
) -> None:
    code, _, stderr = run("image", photo, tmp_path / "o.png", "--model", model, "--backend", "eager", option, value)
    assert code == 2
    assert words in stderr
    assert not (tmp_path / "o.png").exists()


@pytest.mark.parametrize(
    ("setting", "words"),
    [("blend=2", "blend is '2'"), ("colour=red", "no setting 'colour'"), ("extra_controls=canny:1", "is the control")],
)
def test_set_says_what_is_wrong(model: Path, photo: Path, tmp_path: Path, setting: str, words: str) -> None:
    code, _, stderr = run("image", photo, tmp_path / "o.png", "--model", model, "--backend", "eager", "--set", setting)
    assert code == 2
    assert words in stderr
    assert stderr.count("\n") == 1


def test_set_reaches_every_setting(model: Path, photo: Path, tmp_path: Path) -> None:
    target, options = tmp_path / "painted.png", ["--model", model, "--backend", "eager", "--prompt", "ink"]
    pictures = []
    for more in (
        [],
        ["--set", "prompt_b=neon", "--set", "blend=0.5"],
        ["--set", "canny-low=10"],
        ["--control", "none"],
    ):
        code, _, stderr = run("image", photo, target, *options, *more)
        assert code == 0, stderr
        pictures.append(cv2.imread(str(target)).tobytes())
    assert pictures[0] != pictures[1]
    assert pictures[0] != pictures[3]


def test_a_controlnet_a_lora_and_a_decoder_of_one_s_own(model: Path, photo: Path, tmp_path: Path) -> None:
    layer = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
    generator = torch.Generator().manual_seed(0)
    adapter = {
        f"{layer}.lora_A.weight": torch.randn(4, 32, generator=generator),
        f"{layer}.lora_B.weight": torch.randn(32, 4, generator=generator),
    }
    save_file(adapter, tmp_path / "lora.safetensors")
    options = ["--model", model, "--backend", "eager", "--prompt", "ink"]
    pictures = []
    for more in (
        [],
        ["--lora", f"mine={tmp_path / 'lora.safetensors'}"],
        ["--lora", f"mine={tmp_path / 'lora.safetensors'}", "--set", "lora="],
        ["--controlnet", f"sketch={model / 'controlnet'}", "--vae", model / "vae", "--set", "extra_controls=sketch:1"],
    ):
        code, _, stderr = run("image", photo, tmp_path / "painted.png", *options, *more)
        assert code == 0, stderr
        pictures.append(cv2.imread(str(tmp_path / "painted.png")).tobytes())
    assert pictures[0] != pictures[1], "the LoRA is on from the start"
    assert pictures[0] == pictures[2], "and can be turned off"
    assert pictures[0] != pictures[3]


def test_models_lists_the_presets_for_people_and_programs() -> None:
    code, stdout, _ = run("models")
    assert code == 0
    assert "embedded" in stdout
    assert "sd-turbo" in stdout
    code, stdout, _ = run("models", "--json")
    assert code == 0
    rows = {row["name"]: row for row in json.loads(stdout)}
    assert rows["embedded"]["present"]
    assert rows["embedded"]["unet_parameters"] > 1e6
    assert rows["sdxs-512-dreamshaper"]["unet_parameters"] == 315_746_244
    assert rows["sdxs-512-dreamshaper"]["controls"][1] == {
        "kind": "sketch",
        "repo": "IDKiro/sdxs-512-dreamshaper-sketch",
        "parameters": 186_551_440,
    }
    assert all({"name", "unet_parameters", "controls", "licence", "present"} <= set(row) for row in rows.values())


@pytest.fixture
def hub(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """SDXS-512's names, with a tiny model of the same shape behind them."""
    files = files_of(model)
    base = {name: content for name, content in files.items() if not name.startswith("controlnet/")}
    control = {name.split("/")[1]: content for name, content in files.items() if name.startswith("controlnet/")}
    monkeypatch.setenv("SDXS_MODELS", str(tmp_path / "models"))
    with FakeHub({"IDKiro/sdxs-512-dreamshaper": base, "IDKiro/sdxs-512-dreamshaper-sketch": control}) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.endpoint)
        yield running


def test_pull_fetches_ahead_and_then_nothing_is_asked(hub: FakeHub, photo: Path, tmp_path: Path) -> None:
    code, stdout, stderr = run("models", "pull", "sdxs-512-dreamshaper")
    assert code == 0, stderr
    assert str(tmp_path / "models" / "IDKiro" / "sdxs-512-dreamshaper-sketch") in stdout
    hub.asked.clear()
    assert run("models", "pull", "sdxs-512-dreamshaper")[0] == 0
    rows = {row["name"]: row["present"] for row in json.loads(run("models", "--json")[1])}
    assert rows["sdxs-512-dreamshaper"]
    assert not rows["sdxs-512-dreamshaper-anime"], "its LoRA is missing"
    target = tmp_path / "painted.png"
    options = ["--model", "sdxs-512-dreamshaper", "--backend", "eager", "--size", "128", "--prompt", "ink"]
    code, _, stderr = run("image", photo, target, *options, "--control", "sketch")
    assert code == 0, stderr
    assert cv2.imread(str(target)).shape == (128, 128, 3)
    assert not hub.asked


def test_pull_brings_what_draws_the_maps(hub: FakeHub, tmp_path: Path) -> None:
    hub.repos["lllyasviel/Annotators"] = {"dpt_hybrid-midas-501f0c75.pt": b"depth", "ControlNetHED.pth": b"edges"}
    depth = ["--controlnet", "depth=IDKiro/sdxs-512-dreamshaper-sketch"]
    code, stdout, stderr = run("models", "pull", "sdxs-512-dreamshaper", *depth, "--detector", "hed")
    assert code == 0, stderr
    folder = tmp_path / "models" / "lllyasviel" / "Annotators"
    assert (folder / "dpt_hybrid-midas-501f0c75.pt").read_bytes() == b"depth"
    assert (folder / "ControlNetHED.pth").read_bytes() == b"edges"
    assert str(folder / "ControlNetHED.pth") in stdout
    code, _, stderr = run("models", "pull", "sdxs-512-dreamshaper", "--detector", "canny")
    assert code == 2
    assert "no detector 'canny' with weights; there are midas" in stderr


def test_pull_shows_its_progress_on_a_terminal(hub: FakeHub) -> None:
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 160, 0, 0))
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        command = [sys.executable, "-m", "realtime", "models", "pull", "sdxs-512-dreamshaper", "--dtype", "fp32"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs) as running:
            os.close(theirs)
            shown = b""
            with contextlib.suppress(OSError):  # how a terminal whose last user has left ends
                while chunk := terminal.read(4096):
                    shown += chunk
            assert running.wait(timeout=60) == 0
    assert b"unet/diffusion_pytorch_model.safetensors: 100%" in shown


def test_auto_is_the_embedded_model_without_a_gpu(hub: FakeHub) -> None:
    choice = choose_model("auto", device="auto", dtype="auto")
    if not torch.cuda.is_available():
        assert (choice.name, "no CUDA GPU" in choice.why) == ("embedded", True)
    assert choose_model("auto", device="cpu", dtype="auto").name == "embedded"
    assert choose_model("embedded", device="auto", dtype="auto").why == ""


def test_auto_is_sdxs_where_there_is_a_gpu_and_its_files_can_be_had(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    hub.gated.add("IDKiro/sdxs-512-dreamshaper-sketch")
    choice = choose_model("auto", device="auto", dtype="auto")
    assert choice.name == "embedded"
    assert "agree to its terms" in choice.why
    hub.gated.clear()
    assert choose_model("auto", device="cuda", dtype="auto").name == "sdxs-512-dreamshaper"
    hub.asked.clear()
    assert choose_model("auto", device="auto", dtype="auto").name == "sdxs-512-dreamshaper"
    assert not hub.asked


def test_doctor_finds_this_machine_fit() -> None:
    code, stdout, _ = run("doctor", "--json")
    findings = json.loads(stdout)
    missing = [finding for finding in findings if finding["verdict"] == "missing"]
    assert (code, missing) == (0, [])
    assert {"Python", "Packages", "Memory", "H264 encoder", "VP8 encoder", "Network"} <= {f["check"] for f in findings}


def test_doctor_tells_which_weights_are_here_and_whether_the_memory_suffices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SDXS_MODELS", str(tmp_path))
    found = {finding.check: finding for finding in doctor._weights()}
    assert found["Weights of embedded"].verdict == "ok"
    assert found["Weights of sd-turbo"].verdict == "note"
    assert "sdxs-live models pull sd-turbo" in found["Weights of sd-turbo"].mend
    assert str(tmp_path) in found["Weights of sd-turbo"].mend
    assert "never released" in found["Weights of sdxs-1024"].detail
    assert next(iter(doctor._memory())).verdict == "ok"
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=2**29))
    short = next(iter(doctor._memory()))
    assert (short.verdict, "0.5 GiB free" in short.detail) == ("missing", True)


def test_doctor_names_the_mend_of_each_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def sick() -> Iterator[doctor.Finding]:
        raise OSError("no leg to stand on")

    monkeypatch.setattr(doctor, "_memory", sick)
    monkeypatch.setattr(doctor, "_requirements", lambda: ["no-such-package"])
    code, stdout, _ = run("doctor")
    assert code == 1
    assert "no leg to stand on" in stdout
    assert "not installed: no-such-package" in stdout
    assert "pip install sdxs-live" in stdout


def test_doctor_notes_a_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        findings = list(doctor._port(port))
    assert [finding.verdict for finding in findings] == ["note"]
    assert "--port 0" in findings[0].mend
    assert [finding.verdict for finding in doctor._port(port)] == ["ok"]


# The process: it says where it is, and it ends when told to.


@contextlib.contextmanager
def process(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "realtime", "serve", "--port", "0", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        try:
            yield running
        finally:
            running.kill()


def read_until(running: subprocess.Popen[str], pattern: str) -> re.Match[str]:
    """Lines of stdout until one matches; the process is killed after a minute without."""
    assert running.stdout
    watchdog = threading.Timer(100, running.kill)
    watchdog.start()
    try:
        for line in running.stdout:
            if match := re.search(pattern, line):
                return match
    finally:
        watchdog.cancel()
    raise AssertionError(f"No line like {pattern!r}; stderr: {running.stderr.read() if running.stderr else ''}")


@pytest.mark.timeout(400)
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_prints_its_address_gets_ready_and_ends_on_a_signal(model: Path, number: signal.Signals) -> None:
    with process("--model", model, "--backend", "eager", "--source", "test:", "--size", "96x64") as running:
        url = read_until(running, r"Studio +(http://127\.0\.0\.1:\d+/)")[1]
        read_until(running, "Ready +.* on cpu")
        with urllib.request.urlopen(url + "healthz", timeout=30) as answer:
            assert answer.status == 200
        running.send_signal(number)
        stdout, stderr = running.communicate(timeout=90)
        assert running.returncode == 0
        assert "Traceback" not in stdout + stderr


@pytest.mark.timeout(400)
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_serve_serves_the_page_and_can_be_stopped_while_the_model_is_being_loaded() -> None:
    with process("--host", "0.0.0.0") as running:
        port, token = read_until(running, r"Studio +http://localhost:(\d+)/\?token=(\S+)").groups()
        assert len(token) >= 20
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as answer:
            assert b"<html" in answer.read()
        running.send_signal(signal.SIGINT)
        _, stderr = running.communicate(timeout=90)
        assert running.returncode == 0
        assert "Traceback" not in stderr
