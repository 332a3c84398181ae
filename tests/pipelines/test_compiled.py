"""Compiled frames over buffers that stay: whatever came before, a picture is what eager paints of its own settings."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from pipelines import SDXSPipeline, Settings
from pipelines.backends import compiler, make_backend
from pipelines.backends.compiled import CompiledBackend
from pipelines.backends.replay import PlainRecorder, Work
from pipelines.errors import BackendError
from pipelines.frame_graph import FORMS
from tests.pipelines import families, tiny
from tests.pipelines.test_families import peft_adapter

CPU = torch.device("cpu")
SIZE, SMALLER, TALL = (64, 64), (32, 32), (96, 64)
BATCHES = (1, 2, 4)


class CountingRecorder(PlainRecorder):
    """Counts what is recorded, and how often it runs again."""

    def __init__(self) -> None:
        self.recorded = self.replayed = 0

    def record(self, work: Work) -> Work:
        self.warm(work)
        self.recorded += 1

        def replay() -> None:
            self.replayed += 1
            work()

        return replay


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Where a tiny model with two ControlNets and a LoRA lies."""
    folder = tmp_path_factory.mktemp("model")
    pipe, directory = tiny.save(folder)
    peft_adapter(pipe, folder / "style")
    _, depth = families.controlnet_folder(folder, seed=11)
    return {"name_or_dir": directory, "loras": [f"style={folder / 'style'}"], "controlnets": [f"depth={depth}"]}


@pytest.fixture
def eager(model: dict[str, Any]) -> SDXSPipeline:
    return SDXSPipeline.from_pretrained(**model, backend="eager", device="cpu", size=SIZE)


def plain(what: Any) -> Any:
    return what


@pytest.fixture
def make(model: dict[str, Any]) -> Callable[..., tuple[SDXSPipeline, CompiledBackend]]:
    """A pipeline with its own weights whose backend is the compiled one, with the parts of it that the test chooses."""

    def make(**options: Any) -> tuple[SDXSPipeline, CompiledBackend]:
        pipe = SDXSPipeline.from_pretrained(**model, backend="eager", device="cpu", size=SIZE)
        backend = CompiledBackend(
            pipe._graph, CPU, **{"compile_": plain, "batches": BATCHES, "recorder": PlainRecorder(), **options}
        )
        pipe._backend = backend
        pipe._max_batch = BATCHES[-1]
        return pipe, backend

    return make


def drawn(chance: random.Random, count: int, kinds: int, size: tuple[int, int]) -> Tensor:
    generator = torch.Generator().manual_seed(chance.randrange(2**31))
    return torch.randint(0, 256, (count, kinds, *size), dtype=torch.uint8, generator=generator)


def some_settings(chance: random.Random, count: int) -> list[Settings]:
    """One batch: its own words, seeds and strengths each, of few, so that rows come again; one LoRA, the same maps."""
    control, extra = chance.choice([("none", {}), ("canny", {}), ("depth", {}), ("canny", {"depth": 0.4})])
    lora = chance.choice(["", "", "style"])
    return [
        Settings(
            prompt=chance.choice(["a", "b", "a cat"]),
            prompt_b="c",
            blend=chance.choice([0.0, 0.0, 0.3]),
            seed=chance.randrange(3),
            seed_b=9,
            seed_blend=chance.choice([0.0, 0.0, 0.5]),
            control=control,
            conditioning_scale=chance.choice([0.3, 1.0]),
            extra_controls=dict(extra),
            lora=lora,
            lora_scale=0.5,
        )
        for _ in range(count)
    ]


def assert_each_alone(
    eager: SDXSPipeline, painted: Tensor, maps: Tensor, settings: Sequence[Settings], form: Any
) -> None:
    for i, one in enumerate(settings):
        expected = eager.paint_uint8(maps[i : i + 1], [one], form=form)[0]
        assert (painted[i].int() - expected.int()).abs().max() <= 1, one


@pytest.mark.parametrize("seed", range(3))
def test_any_sequence_of_batches_paints_what_eager_paints_alone(eager: SDXSPipeline, make: Any, seed: int) -> None:
    chance = random.Random(seed)
    recorder = CountingRecorder()
    pipe, _ = make(recorder=recorder)
    pipe.prepare(Settings(prompt="a"), size=SMALLER)
    before: tuple[Tensor, Tensor] | None = None
    for _ in range(40):
        count = chance.randint(1, BATCHES[-1] + 1)
        settings, form = some_settings(chance, count), chance.choice(FORMS)
        maps = drawn(chance, count, len(settings[0].kinds), chance.choice([SIZE, SIZE, SMALLER, TALL]))
        painted = pipe.paint_uint8(maps, settings, form=form)
        if before is not None:
            assert torch.equal(*before), "what a call returned must hold over the next one"
        before = painted, painted.clone()
        assert_each_alone(eager, painted, maps, settings, form)
    assert recorder.replayed > recorder.recorded, "or nothing was played twice"


def test_rows_behind_a_smaller_batch_reach_no_picture(eager: SDXSPipeline, make: Any) -> None:
    """They hold what came before; here not even numbers."""
    pipe, backend = make()
    chance = random.Random(5)
    settings = [Settings(prompt="a", seed=i, control="canny") for i in range(4)]
    pipe.paint_uint8(drawn(chance, 4, 1, SIZE), settings)
    with torch.inference_mode():
        for rows in backend._inputs._rows.values():
            rows.tensor[3].fill_(float("nan"))
        for numbers in backend._inputs._numbers.values():
            numbers.tensor[:, 3].fill_(float("nan"))
    maps = drawn(chance, 3, 1, SIZE)
    assert_each_alone(eager, pipe.paint_uint8(maps, settings[:3]), maps, settings[:3], "rgb")


class Copies(TorchDispatchMode):
    """Counts the writes into the static buffers, which alone are in place."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func.overloadpacket in (torch.ops.aten.copy_, torch.ops.aten.fill_)
        return func(*args, **(kwargs or {}))


def test_rows_are_written_only_when_they_change(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe, backend = make()
    maps = drawn(random.Random(1), 2, 1, SIZE)
    settings = [Settings(prompt=prompt, seed=1, control="canny") for prompt in "ab"]

    def writes(settings: Sequence[Settings]) -> int:
        """Besides the maps, which are a frame's own."""
        counted = 0
        put = backend._inputs.put

        def count(frames: Any) -> None:
            nonlocal counted
            with Copies() as copies:
                put(frames)
            counted = copies.count - 1

        with monkeypatch.context() as patch:
            patch.setattr(backend._inputs, "put", count)
            pipe.paint_uint8(maps, settings)
        return counted

    assert writes(settings) == 2 * 5, "noise, text, time, scale and polarity of both"
    assert writes(settings) == 0
    assert writes([settings[0], settings[1].replace(conditioning_scale=0.5)]) == 1
    assert writes([settings[0], settings[1].replace(seed=2)]) == 2, "the noise, and the scale from before"
    assert writes([settings[0], settings[1].replace(prompt="c")]) == 3, "text and time, and the seed from before"


def test_the_descent_runs_only_for_another_noise_or_prompt(make: Any) -> None:
    recorder = CountingRecorder()
    pipe, _ = make(recorder=recorder)
    chance = random.Random(6)
    settings = [Settings(prompt=prompt, seed=1, control="canny") for prompt in "ab"]

    def replays(settings: Sequence[Settings]) -> int:
        before = recorder.replayed
        pipe.paint_uint8(drawn(chance, len(settings), len(settings[0].kinds), SIZE), settings)
        return recorder.replayed - before

    frame, descent = 1, 1
    assert replays(settings[:1]) == frame + descent
    assert replays(settings) == frame + descent
    assert replays(settings) == frame
    assert replays([each.replace(conditioning_scale=0.2) for each in settings]) == frame
    assert replays([each.replace(control="depth") for each in settings]) == frame
    assert replays([each.replace(control="none") for each in settings]) == frame
    assert replays(settings[:1]) == frame
    assert replays([settings[0], settings[1].replace(seed=2)]) == frame + descent
    assert replays([settings[0].replace(prompt="c"), settings[1].replace(seed=2)]) == frame + descent
    assert replays([each.replace(lora="style") for each in settings]) == frame + descent, "its weights are others"


def test_buffers_stay_where_they_are(make: Any) -> None:
    """A CUDA graph reads and writes the addresses that it was captured with, and sees weights changed in place."""
    pipe, backend = make()
    chance = random.Random(2)

    def addresses() -> list[int]:
        rows, numbers = backend._inputs._rows.values(), backend._inputs._numbers.values()
        tensors = [each.tensor for each in (*rows, *numbers)] + list(backend._inputs._maps.values())
        tensors += [pictures.written for pictures in backend._pictures.values()]
        tensors += [each for features in backend._features.values() for each in features._tensors]
        return [each.data_ptr() for each in (*tensors, *backend._graph.parameters())]

    def walk() -> None:
        for control in ("none", "canny", "depth"):
            for form in FORMS:
                for lora in ("", "style"):
                    settings = [Settings(prompt=chance.choice("abc"), control=control, lora=lora)] * 3
                    pipe.paint_uint8(drawn(chance, 3, len(settings[0].kinds), SIZE), settings, form=form)

    walk()
    before = addresses()
    walk()
    assert addresses() == before


class Counting:
    """torch.compile with a compiler that leaves everything as it was traced, and counts."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, what: Any) -> Any:
        def compile_(module: Any, examples: Any) -> Any:
            self.count += 1
            return module.forward

        return torch.compile(what, backend=compile_, fullgraph=True, dynamic=False)


@pytest.mark.slow
def test_settings_never_recompile(eager: SDXSPipeline, make: Any) -> None:
    counting, chance = Counting(), random.Random(3)
    pipe, _ = make(compile_=counting, batches=(1, 2))
    pipe._max_batch = 2
    for count in (1, 2):
        pipe.paint_uint8(drawn(chance, count, 0, SIZE), [Settings(prompt="a", control="none")] * count)
    # Two ControlNets, both halves of the U-Net, maps, and both forms, at both batch sizes: though only text alone was
    # painted.
    assert counting.count == 2 * 7
    for _ in range(12):
        count, form = chance.randint(1, 2), chance.choice(FORMS)
        settings = some_settings(chance, count)
        maps = drawn(chance, count, len(settings[0].kinds), SIZE)
        assert_each_alone(eager, pipe.paint_uint8(maps, settings, form=form), maps, settings, form)
    assert counting.count == 2 * 7


def test_a_control_is_recorded_when_it_is_prepared(make: Any) -> None:
    recorder = CountingRecorder()
    pipe, _ = make(recorder=recorder)
    canny, depth = (Settings(prompt="a", control=control) for control in ("canny", "depth"))
    for count in BATCHES:
        pipe.paint_uint8(drawn(random.Random(0), count, 1, SIZE), [canny] * count)
    assert recorder.recorded == 2 * len(BATCHES), "the U-Net's descent is one of its own"
    pipe.prepare(depth)
    assert recorder.recorded == 3 * len(BATCHES)
    pipe.prepare(depth.replace(seed=8))
    pipe.paint_uint8(drawn(random.Random(0), 2, 1, SIZE), [depth] * 2)
    assert recorder.recorded == 3 * len(BATCHES)


def test_other_sizes_are_recorded_only_when_they_were_asked_for(make: Any) -> None:
    recorder = CountingRecorder()
    pipe, _ = make(recorder=recorder)
    pipe.size = (128, 128)
    canny = Settings(prompt="a", control="canny")
    assert pipe.sizes == [(128, 128)]
    pipe.paint_uint8(drawn(random.Random(0), 1, 1, (128, 128)), [canny])
    pipe.paint_uint8(drawn(random.Random(0), 1, 1, (64, 64)), [canny])
    assert recorder.recorded == 2
    pipe.prepare(canny, size=(64, 64))
    assert (recorder.recorded, pipe.sizes) == (4, [(128, 128), (64, 64)])
    assert pipe.paint_uint8(drawn(random.Random(0), 1, 1, (64, 64)), [canny]).shape == (1, 128, 128, 3)
    assert recorder.recorded == 4


@pytest.mark.parametrize("family", [families.sdxs_0_9, families.sd2, families.sdxl])
def test_other_families(family: Callable[[Path], tuple[Any, Path]], tmp_path: Path) -> None:
    _, directory = family(tmp_path)
    pipe = SDXSPipeline.from_pretrained(directory, backend="eager", device="cpu", size=SIZE)
    reference = pipe.reference()
    backend = CompiledBackend(pipe._graph, CPU, compile_=plain, batches=BATCHES)
    pipe._backend, pipe._max_batch = backend, BATCHES[-1]
    control = pipe.controls[0] if pipe.controls else "none"
    settings = [Settings(prompt=prompt, seed=3, control=control) for prompt in "abc"]
    maps = drawn(random.Random(4), 3, len(settings[0].kinds), SIZE)
    painted = pipe.paint_uint8(maps, settings)
    assert painted.float().std() > 10, "the random model must paint something, or the comparison says nothing"
    assert_each_alone(reference, painted, maps, settings, "rgb")


def test_the_call_takes_any_batch_and_size(eager: SDXSPipeline, make: Any) -> None:
    pipe, _ = make(compile_=Counting())
    settings = [Settings(prompt="a", seed=i, control="canny") for i in range(5)]
    maps = torch.rand(5, 3, *TALL)
    assert (pipe(maps, settings) - eager(maps, settings)).abs().max() <= 1e-3
    assert pipe._backend._frames  # compiled, if a frame had come
    compiling: Any = pipe._backend
    assert not compiling._recorded


_START = """
import json, sys, torch
from torch._dynamo.utils import counters
from pipelines import SDXSPipeline
from pipelines.backends.compiled import CompiledBackend
from pipelines.backends.compiled_frames import _Guide
from pipelines.backends.compiler import torch_compile
from pipelines.split import Descent
from pipelines.verify import verify

cpu = torch.device("cpu")
pipe = SDXSPipeline.from_pretrained(sys.argv[1], backend="eager", device="cpu", size=(64, 64))
compile_ = torch_compile(cpu, thorough=True)
left_out = (Descent, _Guide)  # each kernel takes the compiler a second
pipe._backend = CompiledBackend(
    pipe._graph, cpu, compile_=lambda what: what if isinstance(what, left_out) else compile_(what)
)
verify(pipe)
print(json.dumps({name: counters["inductor"][f"fxgraph_cache_{name}"] for name in ("hit", "miss")}))
"""


def small(workspace: Path) -> Path:
    """A model with a ControlNet whose networks have one stage only: each kernel takes the compiler a second."""
    pipe = tiny.pipeline(workspace)
    stage: dict[str, Any] = {"block_out_channels": (16,), "layers_per_block": 1, "norm_num_groups": 8}
    pipe.unet = UNet2DConditionModel(
        down_block_types=("CrossAttnDownBlock2D",),
        up_block_types=("CrossAttnUpBlock2D",),
        mid_block_type=None,
        cross_attention_dim=32,
        **stage,
    )
    pipe.controlnet = ControlNetModel(
        down_block_types=("CrossAttnDownBlock2D",),
        cross_attention_dim=32,
        conditioning_embedding_out_channels=(8, 8, 8, 8),
        **stage,
    )
    pipe.save_pretrained(workspace / "small", safe_serialization=True)
    return workspace / "small"


@pytest.mark.slow
@pytest.mark.timeout(420)
def test_a_second_start_compiles_nothing_anew(tmp_path: Path) -> None:
    """The one test of the true compiler: what it makes paints what eager paints, and is kept."""
    hasty = tmp_path / "c++"
    hasty.write_text('#!/bin/sh\nexec g++ "$@" -O0\n')
    hasty.chmod(0o755)
    environment = {**os.environ, "SDXS_CACHE": str(tmp_path), "CXX": str(hasty)}
    environment.pop("TORCHINDUCTOR_CACHE_DIR", None)
    model = small(tmp_path)

    def start() -> dict[str, Any]:
        command = [sys.executable, "-c", _START, str(model)]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        answer: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
        return answer

    first, second = start(), start()
    # The U-Net's ascent with the decoder, maps, and both forms.
    assert (first, second) == ({"hit": 0, "miss": 4}, {"hit": 4, "miss": 0})
    assert list((tmp_path / "compiled").iterdir())


def test_where_nothing_can_be_compiled_a_gpu_runs_eager_and_says_why(
    eager: SDXSPipeline, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(compiler, "find_spec", lambda name: None)
    assert make_backend("auto", eager._graph, device=torch.device("cuda")).name == "eager"
    assert "torch.compile needs Triton, which is not installed" in caplog.text
    with pytest.raises(BackendError, match=r"Triton.*--backend eager"):
        make_backend("compiled", eager._graph, device=torch.device("cuda"))


def test_without_a_compiler(eager: SDXSPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(BackendError, match=r"C\+\+ compiler.*--backend eager"):
        make_backend("compiled", eager._graph, device=CPU)
    monkeypatch.setenv("CXX", sys.executable)
    assert make_backend("compiled", eager._graph, device=CPU).name == "compiled"


def test_a_compiler_that_fails_is_said_in_one_sentence(make: Any) -> None:
    def broken(module: Any, examples: Any) -> Any:
        raise RuntimeError("ptxas is missing\nand much more")

    pipe, _ = make(compile_=lambda what: torch.compile(what, backend=broken, fullgraph=True, dynamic=False))
    with pytest.raises(
        BackendError, match=r"can't be compiled here \(.*ptxas is missing.*\); use --backend eager"
    ) as raised:
        pipe.paint_uint8(drawn(random.Random(0), 1, 0, SIZE), [Settings(prompt="a", control="none")])
    assert "much more" not in str(raised.value)


@pytest.mark.parametrize(
    ("chosen", "kept"),
    [(None, True), (f"{tempfile.gettempdir()}/torchinductor_somebody", True), ("/somewhere/else", False)],
    ids=["nobody", "the compiler", "the person"],
)
def test_results_are_kept_in_our_folder_unless_the_person_chose_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: str | None, kept: bool
) -> None:
    monkeypatch.setenv("SDXS_CACHE", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", chosen or "")
    if chosen is None:
        monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    with compiler.compiling():
        pass
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == (str(tmp_path / "compiled") if kept else chosen)


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SDXS_CACHE", str(tmp_path / "file" / "cache"))
    own = f"{tempfile.gettempdir()}/torchinductor_somebody"
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", own)
    with compiler.compiling():
        pass
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == own
