"""One picture at a time, canny included: our backends next to diffusers' own pipeline, same weights, one run."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipelines import SDXSPipeline, Settings
from pipelines.canny import CannyConditioner
from pipelines.presets import find_model
from realtime.bench.picture import moving_picture
from realtime.bench.report import Report, Row, percentile

Picture = NDArray[np.uint8]
Painter = Callable[[Picture], Picture]
DIFFUSERS = "diffusers StableDiffusionControlNetPipeline"


def run(*, model: str = "embedded", seconds: float = 20.0) -> Report:
    """Each contender paints the same picture in turn, round after round, so that a busy moment hits all of them."""
    settings = Settings(prompt="ink drawing", seed=1)
    ours = {
        f"sdxs-live {pipe.backend_name}": (pipe, painter(pipe, settings))
        for pipe in (SDXSPipeline.from_pretrained(model, backend=name) for name in _backends())
    }
    best = next(iter(ours))
    contenders = {name: paint for name, (_, paint) in ours.items()}
    contenders[DIFFUSERS] = diffusers_painter(model, settings)
    canny = CannyConditioner()
    contenders["canny alone"] = lambda image: canny(image, settings).map
    height, width = ours[best][0].size
    times = take_turns(contenders, seconds, height, width)
    middle = {name: percentile(values, 50) for name, values in times.items()}
    return Report(
        what="model",
        timed=f"one {width}×{height} picture, uint8 to uint8, canny included, batch 1, weights {ours[best][0].name}",
        rows=[Row(name=name, milliseconds=values) for name, values in times.items()],
        figures={
            "frames/s": round(1000 / middle[best], 1),
            "times diffusers": round(middle[DIFFUSERS] / middle[best], 2),
        },
    )


def _backends() -> tuple[str, ...]:
    return ("auto",) if torch.cuda.is_available() else ("auto", "eager")


def take_turns(contenders: dict[str, Painter], seconds: float, height: int, width: int) -> dict[str, list[float]]:
    """Milliseconds of each call. Three rounds of warm-up are not counted."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    end, index = 0.0, 0
    while index < 8 or time.monotonic() < end:
        image = moving_picture(index, height, width)
        for name, paint in contenders.items():
            start = time.perf_counter()
            paint(image)
            elapsed = (time.perf_counter() - start) * 1000
            if index >= 3:
                times[name].append(elapsed)
        if index == 3:
            end = time.monotonic() + seconds
        index += 1
    return times


def painter(pipe: SDXSPipeline, settings: Settings) -> Painter:
    """What the frame path does, without the path: canny, the map to the device, the picture back."""
    canny = CannyConditioner()

    def paint(image: Picture) -> Picture:
        maps = torch.from_numpy(canny(image, settings).map)[None].to(pipe.device)
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
