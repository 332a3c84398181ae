"""Each part of a picture alone, and the whole: milliseconds, FLOP/s, and how near that is to what the device can do."""

from __future__ import annotations

import concurrent.futures
import functools
import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from pipelines import SDXSPipeline
from pipelines.checkpoint import Checkpoint, load_checkpoint
from pipelines.frame_graph import to_bytes, to_control
from realtime.bench.flops import Flops, count_flops
from realtime.bench.lines import can_draw, lines
from realtime.bench.picture import moving_picture
from realtime.bench.report import Cell, Table, percentile
from realtime.bench.timing import Work, as_graph, matrix_rate, milliseconds
from realtime.bench.weights import Subject

GPU_BATCHES, CPU_BATCHES = (1, 2, 4, 8, 16), (1, 2)
#: The whole is measured in this order, for so many seconds: on a GPU each batch size may take a minute to compile.
GPU_ORDER, WHOLE_SECONDS = (1, 8, 16, 4, 2), 100.0
#: Makes the work of one part at a batch size.
Part = Callable[[int], Work]


def components(subject: Subject, *, seconds: float = 0.5, whole_seconds: float = WHOLE_SECONDS) -> Table:
    """In a process of its own, so that nothing of it is left.

    ``seconds``: for each part at each batch size. ``whole_seconds``: no further batch size is begun for the whole then.
    """
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(measure, subject, seconds, whole_seconds).result()


@torch.inference_mode()
def measure(subject: Subject, seconds: float, whole_seconds: float = WHOLE_SECONDS) -> Table:
    """The same in this process."""
    device, dtype = subject.device, subject.dtype
    rate = matrix_rate(device, dtype)
    files = subject.files()
    flops = count_flops(files, subject.preset.size)
    parts = _Parts(load_checkpoint(files, dtype=dtype), subject)
    rows = [
        row
        for name, part, flop in parts.all(flops)
        for row in (
            _row(name, part, batch, flop, device=device, rate=rate, seconds=seconds)
            for batch in (GPU_BATCHES if device.type == "cuda" else CPU_BATCHES)
        )
    ]
    whole, backend = _whole(subject)
    name = f"one frame, uint8 to uint8 ({backend})"
    order = GPU_ORDER if device.type == "cuda" else CPU_BATCHES
    begun = time.monotonic()
    measured = [
        _row(name, whole, batch, flops.frame, device=device, rate=rate, seconds=seconds, graphs=False)
        for batch in order
        if time.monotonic() - begun < whole_seconds
    ]
    rows += sorted(measured, key=lambda row: int(row["batch"] or 0))
    how = "each as one CUDA graph, channels last" if device.type == "cuda" else "each as PyTorch runs it"
    return Table(
        name="parts of a picture",
        about=f"{how}, inputs on the device; FLOP counted (a multiplication and an addition are two); the share is "
        f"of {rate / 1e12:.3g} TFLOP/s, which a large matrix product reached here in the same precision and run; "
        "the text encoder runs once a prompt, not once a frame",
        rows=rows,
    )


def _row(
    name: str,
    part: Part,
    batch: int,
    flop: int,
    *,
    device: torch.device,
    rate: float,
    seconds: float,
    graphs: bool = True,
) -> Mapping[str, Cell]:
    """``flop``: of one picture; 0 for parts that do no matrix work. Canny is the host's, and by itself."""
    where = torch.device("cpu") if name.startswith("condition") else device
    work = part(batch)
    work, how = as_graph(work, where) if graphs else (work, "")
    middle = percentile(milliseconds(work, where, seconds=seconds), 50)
    achieved = batch * flop / (middle / 1000)
    return {
        "name": name,
        "batch": batch,
        "ms": round(middle, 4),
        "pictures_per_s": round(batch * 1000 / middle, 1),
        "gflop_a_picture": round(flop / 1e9, 3) if flop else None,
        "tflop_per_s": round(achieved / 1e12, 3) if flop else None,
        "share_of_matrix_rate": f"{achieved / rate:.0%}" if flop else None,
        "note": "on the host" if where != device else how if "not" in how else "",
    }


class _Parts:
    """The networks of a checkpoint on the device, and what each is fed: random, of the frame path's shapes."""

    def __init__(self, checkpoint: Checkpoint, subject: Subject) -> None:
        self._subject = subject
        self._device, self._dtype = subject.device, subject.dtype
        self._height, self._width = subject.preset.size
        # The only decoder that has to run in full precision within a half one is SDXL's own (pipelines.graph).
        layout = torch.channels_last if self._device.type == "cuda" else torch.contiguous_format
        networks = [checkpoint.unet, checkpoint.vae, *checkpoint.controlnets.values()]
        self._unet, self._vae, *controls = (net.to(self._device, memory_format=layout) for net in networks)
        self._control: Any = controls[0] if controls else None
        self._texts = [encoder.to(self._device) for encoder in checkpoint.text_encoders]

    def all(self, flops: Flops) -> Iterator[tuple[str, Part, int]]:
        """Name, part and FLOP of one picture."""
        yield "text encoder", self._text, flops.text
        if self._control is not None:
            if can_draw():
                yield "condition (canny)", self._canny, 0
            yield "ControlNet", self._controlnet, flops.controlnet
        yield "U-Net", self._network, flops.unet
        yield "decoder", self._decode, flops.decoder
        if self._control is not None:
            yield "uint8 map to the ControlNet's input", self._to_control, 0
        yield "picture to uint8 RGB", functools.partial(self._to_bytes, form="rgb"), 0
        yield "picture to uint8 YUV 4:2:0", functools.partial(self._to_bytes, form="yuv"), 0

    def _text(self, batch: int) -> Work:
        shape = (batch, self._texts[0].config.max_position_embeddings)
        ids = torch.randint(0, self._texts[0].config.vocab_size, shape, device=self._device)
        return lambda: [encoder(ids) for encoder in self._texts]

    def _canny(self, batch: int) -> Work:
        draw = lines(self._subject.settings)
        images = [moving_picture(index, self._height, self._width) for index in range(batch)]
        return lambda: [draw(image) for image in images]

    def _controlnet(self, batch: int) -> Work:
        control = self._random(batch, 3, self._height, self._width)
        given = self._shared(batch)
        return lambda: self._control(**given, controlnet_cond=control, conditioning_scale=1.0, return_dict=False)

    def _network(self, batch: int) -> Work:
        given = self._shared(batch)
        return lambda: self._unet(**given, return_dict=False)

    def _decode(self, batch: int) -> Work:
        latents = self._latents(batch)
        return lambda: self._vae.decode(latents, return_dict=False)

    def _to_control(self, batch: int) -> Work:
        maps = torch.randint(0, 256, (batch, 1, self._height, self._width), dtype=torch.uint8, device=self._device)
        upright = torch.zeros(batch, 1, dtype=self._dtype, device=self._device)
        return lambda: to_control(maps, upright, self._dtype).contiguous()

    def _to_bytes(self, batch: int, *, form: Any) -> Work:
        pictures = torch.rand(batch, 3, self._height, self._width, device=self._device).to(self._dtype)
        return lambda: to_bytes(pictures, form, (self._height, self._width))

    def _shared(self, batch: int) -> dict[str, Any]:
        config = self._unet.config
        tokens = self._texts[0].config.max_position_embeddings
        given: dict[str, Any] = {
            "sample": self._latents(batch),
            "timestep": torch.full((batch,), 999, dtype=torch.int64, device=self._device),
            "encoder_hidden_states": self._random(batch, tokens, config.cross_attention_dim),
        }
        if config.addition_embed_type == "text_time":
            pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
            added = {"text_embeds": self._random(batch, pooled), "time_ids": self._random(batch, 6)}
            given["added_cond_kwargs"] = added
        return given

    def _latents(self, batch: int) -> torch.Tensor:
        return self._random(batch, self._unet.config.in_channels, self._height // 8, self._width // 8)

    def _random(self, *shape: int) -> torch.Tensor:
        return torch.randn(*shape, device=self._device).to(self._dtype)


def _whole(subject: Subject) -> tuple[Part, str]:
    """The pipeline as the engine calls it, on the backend that is the default here, and that backend's name."""
    pipe = SDXSPipeline.from_pretrained(subject.name)
    settings = subject.settings
    pipe.prepare(settings)

    def part(batch: int) -> Work:
        shape = (batch, len(settings.kinds), *pipe.size)
        maps = 255 * torch.randint(0, 2, shape, dtype=torch.uint8, device=subject.device)
        return lambda: pipe.paint_uint8(maps, [settings] * batch)

    return part, pipe.backend_name
