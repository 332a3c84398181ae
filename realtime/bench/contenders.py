"""Who is compared: our backends, diffusers' pipeline as its documentation uses it, and the original demo's loop.

All paint uint8 H×W×3 pictures from uint8 H×W×3 pictures, canny included, with the same weights in the same precision.
"""

from __future__ import annotations

import functools
import importlib
import shutil
import warnings
from typing import Any

import numpy as np
import torch
from PIL import Image

from pipelines import SDXSPipeline
from pipelines.condition import DRAWN
from realtime.bench.errors import CantRun, need
from realtime.bench.lines import lines
from realtime.bench.turns import Make, Paint, Picture
from realtime.bench.weights import Subject

DIFFUSERS, COMPILED, DEMO = "diffusers", "diffusers, torch.compile", "SDXS demo's loop"
NOTES = {
    DIFFUSERS: "its pipeline for this model as documented: map and prompt in, one step, no guidance",
    COMPILED: "the same; U-Net, ControlNet and vae.decode compiled as in its ControlNet benchmark",
    DEMO: "what demo_sketch.py does a picture, PIL in and out, without its web page; the demo itself runs in fp32",
}
OURS = "sdxs-live "
#: A choice among the others; ``compiled`` after fewer trials, for quicker first starts.
LEFT_OUT = ("auto", "compiled-quick")


def contenders() -> dict[str, Make]:
    """By name; ours first. Each either runs here or says why it doesn't."""
    from pipelines.backends import BACKENDS

    names = [name for name in BACKENDS if name not in LEFT_OUT]
    ours: dict[str, Make] = {f"{OURS}{name}": functools.partial(ours_painter, backend=name) for name in names}
    return {**ours, DIFFUSERS: diffusers_painter, COMPILED: compiled_painter, DEMO: demo_painter}


def ours_painter(subject: Subject, *, backend: str) -> Paint:
    """What the frame path does, without the path: the map drawn and brought to the device, the picture brought back."""
    pipe = SDXSPipeline.from_pretrained(subject.name, backend=backend)
    return painter(pipe, subject)


def painter(pipe: SDXSPipeline, subject: Subject) -> Paint:
    """The bare calls of a pipeline that is loaded."""
    settings, height_width = subject.settings, pipe.size
    draw = lines(settings) if settings.kinds else None
    pipe.prepare(settings)

    def paint(image: Picture) -> Picture:
        drawn = draw(image)[None] if draw else np.empty((0, *height_width), np.uint8)
        maps = torch.from_numpy(drawn)[None].to(pipe.device)
        picture: Picture = pipe.paint_uint8(maps, [settings])[0].cpu().numpy()
        return picture

    return paint


def diffusers_painter(subject: Subject) -> Paint:
    return _as_documented(diffusers_pipeline(subject), subject)


def compiled_painter(subject: Subject) -> Paint:
    """On a GPU as diffusers' own benchmark of this pipeline does it; on a CPU in torch.compile's usual mode."""
    on_gpu = subject.device.type == "cuda"
    if not on_gpu and not any(map(shutil.which, ("g++", "clang++", "cl"))):
        raise CantRun("torch.compile needs a C++ compiler on a CPU; install g++.")
    pipe = diffusers_pipeline(subject)
    options: dict[str, Any] = {"fullgraph": True, **({"mode": "reduce-overhead"} if on_gpu else {})}
    for name in ("unet", "controlnet"):
        network = getattr(pipe, name, None)
        if network is not None:
            setattr(pipe, name, torch.compile(network.to(memory_format=torch.channels_last), **options))
    pipe.vae.decode = torch.compile(pipe.vae.to(memory_format=torch.channels_last).decode, **options)
    return _as_documented(pipe, subject)


def _as_documented(pipe: Any, subject: Subject) -> Paint:
    """The map as a tensor in, the picture as an array out, which spares it what PIL would cost."""
    settings = subject.settings
    draw = lines(settings) if settings.kinds else None
    inverted = any(c.kind == "canny" and c.polarity != DRAWN["canny"] for c in subject.preset.controls)
    height, width = subject.preset.size

    def paint(image: Picture) -> Picture:
        given: dict[str, Any] = {"height": height, "width": width}
        if draw:
            drawn = 255 - draw(image) if inverted else draw(image)
            given["image"] = torch.from_numpy(drawn)[None, None].expand(-1, 3, -1, -1).float() / 255
            given["controlnet_conditioning_scale"] = settings.conditioning_scale
        generator = torch.Generator().manual_seed(settings.seed)
        output = _call(pipe, settings.prompt, generator=generator, output_type="np", **given)
        picture: Picture = (output * 255).round().astype(np.uint8)
        return picture

    return paint


def demo_painter(subject: Subject) -> Paint:
    """``run`` of https://github.com/IDKiro/sdxs, demo_sketch.py, for each picture, without the PNGs for its page.

    A drawing comes as PIL, is turned about by way of an array, and the painted picture goes out as PIL.
    """
    pipe, settings = diffusers_pipeline(subject), subject.settings
    height, width = subject.preset.size
    draw = lines(settings) if settings.kinds else None

    def paint(image: Picture) -> Picture:
        given: dict[str, Any] = {"width": width, "height": height, "num_images_per_prompt": 1}
        if draw:
            drawn = Image.fromarray(draw(image)).convert("RGB")
            given["image"] = Image.fromarray(255 - np.array(drawn))
            given["controlnet_conditioning_scale"] = settings.conditioning_scale
        return np.asarray(_call(pipe, settings.prompt, output_type="pil", **given))

    return paint


def diffusers_pipeline(subject: Subject) -> Any:
    """The class that diffusers has for such a model, on the device, in the model's precision."""
    need("diffusers")
    import diffusers

    importlib.import_module("pipelines.subpixel")  # diffusers takes a class that it has not from nowhere else
    files = subject.files()
    given: dict[str, Any] = {"torch_dtype": subject.dtype}
    is_xl = (files.directory / "tokenizer_2").is_dir()
    if not is_xl:
        given |= {"safety_checker": None, "requires_safety_checker": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        diffusers.utils.logging.set_verbosity_error()
        diffusers.utils.logging.disable_progress_bar()
        if files.controlnets:
            folder = next(iter(files.controlnets.values()))
            given["controlnet"] = diffusers.ControlNetModel.from_pretrained(folder, torch_dtype=subject.dtype)
        kind = f"StableDiffusion{'XL' * is_xl}{'ControlNet' * bool(files.controlnets)}Pipeline"
        pipe = getattr(diffusers, kind).from_pretrained(files.directory, **given)
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(subject.device)


def _call(pipe: Any, prompt: str, **given: Any) -> Any:
    """The first picture. Its warnings are about its own deprecations."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pipe(prompt, num_inference_steps=1, guidance_scale=0.0, **given).images[0]
