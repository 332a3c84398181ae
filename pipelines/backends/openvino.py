"""Fused OpenVINO graphs of the networks, bytes in and bytes out: the quickest way on a CPU."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pipelines.backends.base import CPU_BATCHES, FrameInputs, Size
from pipelines.backends.lean import shorten_decoder
from pipelines.backends.openvino_frame import Kind, frame_model
from pipelines.backends.openvino_pieces import Pieces
from pipelines.backends.openvino_request import Request
from pipelines.backends.processor import cpu, intel_gpu
from pipelines.backends.quantised import Form as Int8Form
from pipelines.colours import ColourEntry
from pipelines.errors import BackendError
from pipelines.fold import Constants, Folded
from pipelines.frame_graph import Form
from pipelines.graph import PaintGraph, PaintInputs
from pipelines.prompt import Embedding
from pipelines.recent import Recent
from pipelines.split import Features


class OpenVINOBackend:
    """The folded graph in pieces (``pipelines.split``), joined for each choice of ControlNets, compiled for each size.

    What no map reaches runs once for each noise and prompt. ``int8``: a quantised form of the weights as they are
    (``pipelines.backends.quantised``); with a LoRA, whatever holds the U-Net is painted in f32 instead. ``gpu``: runs
    on Intel's GPU. Raises BackendError where OpenVINO or that GPU is missing.
    """

    batches = CPU_BATCHES

    def __init__(
        self, graph: PaintGraph, device: torch.device, *, int8: Int8Form | None = None, gpu: bool = False
    ) -> None:
        self._core = core = _core()
        graph.float()
        self.folded = Folded(graph)
        shorten_decoder(self.folded.graph)
        shipped = _read(int8, core) if int8 else {}
        self.name = "openvino-int8" if int8 else "openvino"
        self.least_psnr = int8.least_psnr if int8 else None
        self._target = intel_gpu(core) if gpu else cpu(core, quantised=bool(int8))
        self._exact = intel_gpu(core) if gpu else cpu(core, quantised=False)
        widths = (self.folded.context_width, self.folded.temb_width)
        self.pieces = Pieces(self.folded.graph, core, widths, shipped)
        self._tag = ""
        self._models: Recent[tuple[str, Kind], Any] = Recent(_REMEMBER)
        self._requests: Recent[tuple[object, ...], Request] = Recent(_REMEMBER)
        #: What the Descent makes of a noise and a prompt, with both, so that their identities stay theirs. Sessions
        #: take turns, and each needs its own again.
        self._features: Recent[tuple[int, int], tuple[Features, Tensor, Constants]] = Recent(16)

    def constants(self, embedding: Embedding, time_ids: Tensor | None) -> Constants:
        return self.folded.constants(embedding, time_ids)

    def __call__(self, inputs: PaintInputs, nets: tuple[int, ...]) -> Tensor:
        given = {name: tensor.float() for name, tensor in inputs.named().items()}
        height, width = (8 * side for side in inputs.noise.shape[-2:])
        if nets and _is_grey(inputs.maps):
            given["maps"] = given["maps"][:, :, :1]
        channels = given["maps"].shape[2] if nets else 1
        kind = Kind(nets=nets, channels=channels, maps=(height, width), form=None, size=(height, width))
        features = self._descend(given["noise"], given["embeddings"], given["temb"])
        given |= {f"feature{i}": each for i, each in enumerate(features)}
        request = self._request(kind, given)
        for name, tensor in given.items():
            request.give(name, tensor)
        return request()[0].clone()

    def paint(self, frames: FrameInputs, nets: tuple[int, ...], form: Form, size: Size) -> Tensor:
        rows = self._rows(frames)
        height, width = frames.maps.shape[-2:]
        kind = Kind(nets=nets, channels=1, maps=(height, width), form=form, size=size)
        shapes = {name: (len(each), *each[0].shape) for name, each in rows.items()}
        count = (len(frames.noise), len(nets))
        request = self._request(kind, {**shapes, "maps": frames.maps.shape, "scales": count, "inverted": count})
        for name, each in rows.items():
            request.give_rows(name, each)
        if nets:
            request.give("maps", frames.maps)
            request.give("scales", torch.tensor(frames.scales, dtype=torch.float32))
            request.give("inverted", torch.tensor(frames.inverted, dtype=torch.float32) * 255)
        return request()[0]

    def enter(self, entry: ColourEntry, noise: Tensor, pictures: Tensor, strength: Tensor) -> Tensor:
        # Not by torch: its threads, once woken, spin for a while on the cores that the picture is painted on next.
        given = {"noise": noise.float(), "pictures": pictures.float(), "strength": strength.float()}
        return self._run("entry", lambda: self.pieces.entry(entry), given)[0]

    @property
    def rest(self) -> str:
        """The precision of what isn't int8: f32, or bf16 where the CPU has it."""
        return str(self._target.hints.get("INFERENCE_PRECISION_HINT", "f16"))

    def set_rest(self, precision: str) -> None:
        """Take another one, for measuring."""
        hints = {**self._target.hints, "INFERENCE_PRECISION_HINT": precision}
        self._target = dataclasses.replace(self._target, hints=hints)
        self._requests.clear()

    def sizes(self, offered: Sequence[Size]) -> Sequence[Size]:
        """All: another size is compiled in less than a second."""
        return offered

    def prepare(self, nets: tuple[int, ...], size: Size) -> None:
        """Convert what they need; putting it together takes a moment."""
        self.pieces.descent(), self.pieces.ascent()
        for net in nets:
            self.pieces.control(net, 1)

    def weights_changed(self, tag: str) -> None:
        self._tag = tag
        self.folded.refresh()
        self.pieces.unet_changed()
        self._features.clear()

    def _rows(self, frames: FrameInputs) -> dict[str, list[Tensor]]:
        """The constant inputs, row by row, each the same object as long as it is the same."""
        pairs = list(zip(frames.noise, frames.constants, strict=True))
        features = [self._features_of(noise, constants) for noise, constants in pairs]
        rows = {"noise": list(frames.noise), "embeddings": [each.embeddings for each in frames.constants]}
        rows["temb"] = [_given(each.temb) for each in frames.constants]
        return rows | {f"feature{i}": [row[i] for row in features] for i in range(len(features[0]))}

    def _features_of(self, noise: Tensor, constants: Constants) -> Features:
        def make() -> tuple[Features, Tensor, Constants]:
            made = self._descend(noise[None].float(), constants.embeddings[None], _given(constants.temb)[None])
            return tuple(each[0] for each in made), noise, constants

        return self._features.get((id(noise), id(constants)), make)[0]

    def _descend(self, noise: Tensor, embeddings: Tensor, temb: Tensor) -> Features:
        return self._run("descent", self.pieces.descent, {"noise": noise, "embeddings": embeddings, "temb": temb})

    def _run(self, name: str, model: Callable[[], Any], given: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """A piece by itself, in full precision."""
        shapes = {name: tuple(each.shape) for name, each in given.items()}
        key = (self._tag, name, *shapes.values())
        request = self._requests.get(key, lambda: Request(self._core, model(), shapes, self._exact))
        for each, tensor in given.items():
            request.give(each, tensor)
        # Copied by numpy, for the same reason as in ``enter``.
        return tuple(torch.from_numpy(each.numpy().copy()) for each in request())

    def _request(self, kind: Kind, given: dict[str, Any]) -> Request:
        shapes = {name: tuple(getattr(each, "shape", each)) for name, each in given.items()}

        def make() -> Request:
            model = self._models.get((self._tag, kind), lambda: frame_model(self.pieces, kind))
            return Request(self._core, model, shapes, self._target)

        return self._requests.get((self._tag, kind, *shapes.values()), make)


#: Graphs, and graphs compiled for a shape, that are kept.
_REMEMBER = 12


def _core() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise BackendError(
            f"OpenVINO can't be imported ({error}); pip install openvino, or use --backend eager."
        ) from None
    return openvino.Core()


def _read(form: Int8Form, core: Any) -> dict[str, Any]:
    try:
        return form.models(core)
    except (RuntimeError, OSError, EOFError, zlib.error) as error:
        first = str(error).splitlines()[0]
        raise BackendError(
            f"{form.folder} can't be read by this OpenVINO ({first}); make it anew with "
            f"python -m pipelines.training quantise {form.folder.parent}, or use --backend openvino."
        ) from None


def _given(temb: Tensor | None) -> Tensor:
    assert temb is not None, "constants of a folded graph have it"
    return temb


def _is_grey(maps: Tensor) -> bool:
    return all(torch.equal(maps[:, :, 0], maps[:, :, i]) for i in (1, 2))
