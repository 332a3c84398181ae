"""One picture at a time, canny included: our backends next to diffusers' own pipeline, same weights, one run."""

from __future__ import annotations

import contextlib
import multiprocessing
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipelines import SDXSPipeline, Settings
from pipelines.canny import CannyConditioner
from pipelines.presets import find_model, read_preset
from realtime.bench.picture import moving_picture
from realtime.bench.report import Report, Row, percentile

Picture = NDArray[np.uint8]
Painter = Callable[[Picture], Picture]
#: Pictures a contender paints before it is the next one's turn.
TURN = 10
DIFFUSERS = "diffusers StableDiffusionControlNetPipeline"
CANNY = "canny alone"


def run(*, model: str = "embedded", seconds: float = 20.0) -> Report:
    """The contenders take turns of a few pictures each, so that a busy moment of the machine hits all of them.

    Each lives in a process of its own: the idle threads of one library would slow the next one down.
    """
    preset = read_preset(find_model(model))
    times = take_turns((*_backends(), DIFFUSERS, CANNY), model, seconds)
    middle = {name: percentile(values, 50) for name, values in times.items()}
    best, (height, width) = next(iter(times)), preset.size
    return Report(
        what="model",
        timed=f"one {width}×{height} picture, uint8 to uint8, canny included, batch 1, weights {preset.name}",
        rows=[Row(name=name, milliseconds=values) for name, values in times.items()],
        figures={
            "frames/s": round(1000 / middle[best], 1),
            "times diffusers": round(middle[DIFFUSERS] / middle[best], 2),
        },
    )


def _backends() -> tuple[str, ...]:
    return ("sdxs-live eager",) if torch.cuda.is_available() else ("sdxs-live openvino", "sdxs-live eager")


def take_turns(names: Sequence[str], model: str, seconds: float) -> dict[str, list[float]]:
    """Milliseconds of each call by contender; a first round is not counted. Raises what a contender raises."""
    with contextlib.ExitStack() as stack:
        workers = {name: stack.enter_context(_worker(name, model)) for name in names}
        times: dict[str, list[float]] = {name: [] for name in names}
        for worker in workers.values():
            _answer(worker)
        rounds, end = 0, time.monotonic() + seconds
        while rounds < 2 or time.monotonic() < end:
            for name, worker in workers.items():
                worker.send(TURN)
                turn = _answer(worker)
                times[name] += turn if rounds else []
            rounds += 1
        return times


@contextlib.contextmanager
def _worker(name: str, model: str) -> Iterator[Connection]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve_turns, args=(theirs, name, model), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours
    finally:
        ours.close()
        process.join(10)


def _answer(worker: Connection) -> list[float]:
    try:
        answer = worker.recv()
    except EOFError:
        raise RuntimeError("A contender's process ended; its message is above.") from None
    if isinstance(answer, Exception):
        raise answer
    times: list[float] = answer
    return times


def _serve_turns(connection: Connection, name: str, model: str) -> None:
    """The contender's process: says that it is ready, then paints as many pictures as it is told, until the end."""
    settings = Settings(prompt="ink drawing", seed=1)
    height, width = read_preset(find_model(model)).size
    images = [moving_picture(index, height, width) for index in range(TURN)]
    try:
        paint = _contender(name, model, settings)
        connection.send([_milliseconds(paint, image) for image in images])
    except Exception as error:
        connection.send(error)
        return
    with contextlib.suppress(EOFError):
        while count := connection.recv():
            connection.send([_milliseconds(paint, image) for image in images[:count]])


def _contender(name: str, model: str, settings: Settings) -> Painter:
    if name == CANNY:
        canny = CannyConditioner()
        return lambda image: canny(image, settings).map
    if name == DIFFUSERS:
        return diffusers_painter(model, settings)
    return painter(SDXSPipeline.from_pretrained(model, backend=name.split()[-1]), settings)


def _milliseconds(paint: Painter, image: Picture) -> float:
    start = time.perf_counter()
    paint(image)
    return (time.perf_counter() - start) * 1000


def painter(pipe: SDXSPipeline, settings: Settings) -> Painter:
    """What the frame path does, without the path: canny, the map to the device, the picture back."""
    canny = CannyConditioner()

    def paint(image: Picture) -> Picture:
        maps = torch.from_numpy(canny(image, settings).map)[None, None].to(pipe.device)
        picture: Picture = pipe.paint_uint8(maps, [settings])[0].cpu().numpy()
        return picture

    return paint


def diffusers_painter(model: str, settings: Settings) -> Painter:
    """diffusers' pipeline as its documentation says to use it: the detector's map in, one step, no guidance."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipe = _diffusers_pipeline(model)
    canny = CannyConditioner()

    def paint(image: Picture) -> Picture:
        edges = canny(image, settings).map
        control = torch.from_numpy(edges)[None, None].expand(-1, 3, -1, -1).float() / 255
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            output = pipe(
                settings.prompt,
                image=control,
                num_inference_steps=1,
                guidance_scale=0.0,
                controlnet_conditioning_scale=settings.conditioning_scale,
                generator=torch.Generator().manual_seed(settings.seed),
                output_type="np",
            ).images[0]
        picture: Picture = (output * 255).round().astype(np.uint8)
        return picture

    return paint


def _diffusers_pipeline(model: str) -> Any:
    from diffusers import ControlNetModel, StableDiffusionControlNetPipeline

    directory = find_model(model)
    on_gpu = torch.cuda.is_available()
    dtype = torch.float16 if on_gpu else torch.float32
    net = ControlNetModel.from_pretrained(directory / "controlnet", torch_dtype=dtype)
    pipe = StableDiffusionControlNetPipeline.from_pretrained(
        directory, controlnet=net, safety_checker=None, requires_safety_checker=False, torch_dtype=dtype
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe.to("cuda" if on_gpu else "cpu")
