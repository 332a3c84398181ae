"""The compiled backend on a real GPU: graphs of every batch size, what they cost, and what they don't."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pipelines import SDXSPipeline, Settings
from pipelines.backends.base import GPU_BATCHES
from pipelines.backends.compiled import CompiledBackend
from pipelines.frame_graph import FORMS, Form
from pipelines.verify import LEAST_PSNR, _psnr, verify
from realtime.bench.random_weights import write_model
from realtime.bench.timing import milliseconds
from realtime.engine import Engine
from tests.pipelines import tiny
from tests.pipelines.test_families import peft_adapter

pytestmark = pytest.mark.gpu
SECONDS = 0.5
FRAMES = 200


def load(folder: Path, dtype: torch.dtype = torch.float16, **options: Any) -> SDXSPipeline:
    return SDXSPipeline.from_pretrained(folder, backend="compiled-quick", device="cuda", dtype=dtype, **options)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model("tiny", tmp_path_factory.mktemp("tiny"), device=torch.device("cuda"))


@pytest.fixture(scope="module")
def pipe(small: Path) -> SDXSPipeline:
    return load(small)


def drawn(pipe: SDXSPipeline, count: int, control: str) -> tuple[Tensor, list[Settings]]:
    settings = [Settings(prompt="abcd"[i % 4], seed=i, control=control, conditioning_scale=0.8) for i in range(count)]
    shape = (count, len(settings[0].kinds), *pipe.size)
    return torch.randint(0, 256, shape, dtype=torch.uint8, device="cuda"), settings


def assert_near(painted: Tensor, expected: Tensor, dtype: torch.dtype = torch.float16) -> None:
    for mine, its in zip(painted.int(), expected.int(), strict=True):
        assert _psnr(mine, its) >= LEAST_PSNR[dtype]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_it_paints_what_eager_paints(small: Path, dtype: torch.dtype) -> None:
    found = verify(load(small, dtype))
    print(found)
    assert found.backend == "compiled-quick"


@pytest.mark.parametrize("form", FORMS)
def test_every_batch_has_its_graph(pipe: SDXSPipeline, form: Form) -> None:
    reference = pipe.reference()
    for count in range(1, 17):
        for control in ("canny", "none"):
            maps, settings = drawn(pipe, count, control)
            for _ in range(3):
                painted = pipe.paint_uint8(maps, settings, form=form)
            assert_near(painted, reference.paint_uint8(maps, settings, form=form))
    backend: Any = pipe._backend
    assert {batch for _, (batch, *_) in backend._recorded} == set(GPU_BATCHES)


def test_a_picture_holds_over_the_next_call(pipe: SDXSPipeline) -> None:
    before, settings = drawn(pipe, 3, "canny")
    after, _ = drawn(pipe, 3, "canny")
    first = pipe.paint_uint8(before, settings)
    kept = first.clone()
    pipe.paint_uint8(after, settings)
    assert torch.equal(first, kept)


def walk(pipe: SDXSPipeline, frames: int) -> Iterator[tuple[Tensor, list[Settings]]]:
    """Frames of all batch sizes, whose prompts, seeds and strengths change all the time."""
    batches = [drawn(pipe, count, control) for count in (1, 3, 8, 16) for control in ("canny", "none")]
    for frame in range(frames):
        maps, settings = batches[frame % len(batches)]
        turned = settings[frame % len(settings) :] + settings[: frame % len(settings)]
        yield maps, [each.replace(conditioning_scale=0.1 * (frame % 10)) for each in turned]


def test_frames_allocate_nothing_and_wait_for_nothing(pipe: SDXSPipeline) -> None:
    for maps, settings in walk(pipe, 16):
        pipe.paint_uint8(maps, settings)
    frames = list(walk(pipe, FRAMES))
    torch.cuda.synchronize()
    before = torch.cuda.memory_stats()["allocation.all.allocated"]
    torch.cuda.set_sync_debug_mode("error")
    try:
        for maps, settings in frames:
            pipe.paint_uint8(maps, settings)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.cuda.memory_stats()["allocation.all.allocated"] == before


def test_the_host_is_far_ahead_and_nothing_is_torn(pipe: SDXSPipeline) -> None:
    """Static buffers are written in the order of the stream, not of the host."""
    reference = pipe.reference()
    frames = list(walk(pipe, 40))
    painted = [pipe.paint_uint8(maps, settings).clone() for maps, settings in frames]
    for (maps, settings), pictures in zip(frames, painted, strict=True):
        assert_near(pictures, reference.paint_uint8(maps, settings))


def test_a_lora_reaches_the_graphs(tmp_path: Path) -> None:
    theirs, directory = tiny.save(tmp_path)
    peft_adapter(theirs, tmp_path / "style")
    pipe = load(directory, torch.float32, size=(128, 128), loras=[f"style={tmp_path / 'style'}"])
    reference = pipe.reference()
    maps, settings = drawn(pipe, 2, "canny")
    plain = pipe.paint_uint8(maps, settings).clone()
    for lora in ("style", "", "style"):
        chosen = [each.replace(lora=lora) for each in settings]
        painted = pipe.paint_uint8(maps, chosen)
        assert_near(painted, reference.paint_uint8(maps, chosen))
        assert torch.equal(painted, plain) == (lora == "")


class Busy:
    """Another thread that allocates and waits on a stream of its own, as the networks that draw maps do."""

    def __init__(self) -> None:
        self.rounds, self.error = 0, None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Busy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            stream = torch.cuda.Stream()
            with torch.cuda.stream(stream):
                while not self._stop.is_set():
                    one = torch.rand(512, 512, device="cuda")
                    assert float((one @ one).mean().cpu()) > 0
                    self.rounds += 1
        except Exception as error:
            self.error = error


def test_graphs_are_captured_while_another_thread_uses_the_device(small: Path) -> None:
    with Busy() as busy:
        pipe = load(small)
        engine = Engine(pipe, max_batch=4, form="yuv")
        canny, none = (drawn(pipe, 1, control)[1][0] for control in ("canny", "none"))
        engine.warm_up(canny, none)
        found = verify(pipe)
    assert busy.error is None
    assert busy.rounds > 0
    assert found.holds


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model("sdxs-512-dreamshaper", tmp_path_factory.mktemp("full"), device=torch.device("cuda"))


def rate(pipe: SDXSPipeline, count: int) -> tuple[float, Callable[[], object]]:
    """The median of milliseconds a batch, and what was measured."""
    maps, settings = drawn(pipe, count, "canny")

    def paint() -> object:
        return pipe.paint_uint8(maps, settings)

    paint()
    times = sorted(milliseconds(paint, pipe.device, seconds=SECONDS))
    return times[len(times) // 2], paint


@pytest.mark.timeout(600)
def test_sdxs_512_with_its_controlnet(full: Path) -> None:
    torch.cuda.empty_cache()
    others = torch.cuda.memory_reserved()
    pipe = load(full)
    assert isinstance(pipe._backend, CompiledBackend)
    one, paint = rate(pipe, 1)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    paint()
    torch.cuda.synchronize()
    taken = torch.cuda.max_memory_reserved() - others
    where = torch.cuda.get_device_name()
    print(f"SDXS-512 with its ControlNet, 512×512, fp16, {where}: {taken / 2**30:.2f} GiB and {one:.2f} ms at batch 1")
    assert taken <= 2.5e9
    eight, _ = rate(pipe, 8)
    print(f"{8000 / eight:.0f} frames/s at batch 8")
    assert eight / 8 < one, "company is cheaper than being alone"
    reference = pipe.reference()
    maps, settings = drawn(pipe, 8, "canny")
    assert_near(pipe.paint_uint8(maps, settings), reference.paint_uint8(maps, settings))
