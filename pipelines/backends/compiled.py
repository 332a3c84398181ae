"""The quickest way on a CUDA GPU: the folded graph, its parts compiled, whole frames replayed as CUDA graphs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pipelines.backends.base import CPU_BATCHES, GPU_BATCHES, FrameInputs, Size, stack_frames
from pipelines.backends.compiled_frames import Compile, CompiledFrames
from pipelines.backends.compiler import compiling, torch_compile, why_not
from pipelines.backends.pictures import Pictures
from pipelines.backends.replay import CudaGraphs, PlainRecorder, Recorder, Work
from pipelines.backends.static_features import StaticFeatures, keys_of
from pipelines.backends.static_inputs import StaticInputs
from pipelines.colours import ColourEntry
from pipelines.errors import BackendError
from pipelines.fold import Constants, Folded
from pipelines.frame_graph import FORMS, Form, FrameGraph
from pipelines.graph import PaintGraph, PaintInputs
from pipelines.prompt import Embedding

#: Batch size, size of the maps, form and size of the pictures: what is recorded for each choice of ControlNets.
_Shape = tuple[int, Size, Form, Size]


class CompiledBackend:
    """Frames of the model's own size, and of the sizes that were prepared, run as recorded graphs.

    A batch is filled up to the next size in ``batches``. The first one of each size takes as long as compiling does;
    then every choice of controls, and every form, is recorded from the same compiled parts in a moment, and nothing is
    allocated or waited for. The U-Net's descent, which no map reaches, runs only when a noise or a prompt is another
    than in the frame before. Other sizes and larger batches are painted by the folded graph as it is.

    ``thorough``: see ``torch_compile``. The other options are for tests. Raises BackendError where nothing can be
    compiled.
    """

    #: Kernels sum in another order, and no more.
    least_psnr: float | None = None

    def __init__(
        self,
        graph: PaintGraph,
        device: torch.device,
        *,
        thorough: bool = True,
        compile_: Compile | None = None,
        recorder: Recorder | None = None,
        batches: Sequence[int] | None = None,
    ) -> None:
        if compile_ is None and (reason := why_not(device)):
            raise BackendError(f"The compiled backend can't run here: {reason}; use --backend eager.")
        self.name = "compiled" if thorough else "compiled-quick"
        self._device = device
        self.batches = batches or (CPU_BATCHES if device.type == "cpu" else GPU_BATCHES)
        _put_channels_last(graph)
        self._folded = Folded(graph)
        self._graph = self._folded.graph
        self._frames = CompiledFrames(self._graph, compile_ or torch_compile(device, thorough=thorough))
        self._recorder = recorder or (CudaGraphs(device) if device.type == "cuda" else PlainRecorder())
        dtype = next(graph.unet.parameters()).dtype
        self._inputs = StaticInputs(capacity=self.batches[-1], device=device, dtype=dtype)
        self._pictures: dict[tuple[Form, Size], Pictures] = {}
        #: Batch sizes and map sizes whose parts are compiled, and map sizes that were asked for.
        self._compiled: set[tuple[int, Size]] = set()
        self._asked: set[Size] = set()
        self._features: dict[Size, StaticFeatures] = {}
        self._descents: dict[tuple[int, Size], Work] = {}
        self._recorded: dict[tuple[tuple[int, ...], _Shape], Work] = {}

    def constants(self, embedding: Embedding, time_ids: Tensor | None) -> Constants:
        return self._folded.constants(embedding, time_ids)

    @torch.inference_mode()
    def __call__(self, inputs: PaintInputs, nets: tuple[int, ...]) -> Tensor:
        picture: Tensor = self._graph(inputs, nets)
        return picture

    @torch.inference_mode()
    def paint(self, frames: FrameInputs, nets: tuple[int, ...], form: Form, size: Size) -> Tensor:
        count, _, height, width = frames.maps.shape
        batch = next((each for each in self.batches if each >= count), None)
        if batch is None or (height, width) not in {size, *self._asked}:
            return self._as_it_is(frames, nets, form, size)
        self._inputs.put(frames)
        paint = self._recording(nets, (batch, (height, width), form, size))
        self._descend(frames, batch)
        paint()
        return self._pictures_of(form, size).hand_out(count)

    @torch.inference_mode()
    def enter(self, entry: ColourEntry, noise: Tensor, pictures: Tensor, strength: Tensor) -> Tensor:
        start: Tensor = entry(noise, pictures, strength)
        return start

    def sizes(self, offered: Sequence[Size]) -> Sequence[Size]:
        """The first, and those that were prepared: each takes the time of compiling once more."""
        return [size for size in offered if size == offered[0] or size in self._asked]

    @torch.inference_mode()
    def prepare(self, nets: tuple[int, ...], size: Size) -> None:
        """For all batch sizes and forms that there are pictures of so far."""
        self._asked.add(size)
        for batch, form, out in sorted({(batch, form, out) for _, (batch, _, form, out) in self._recorded}):
            self._recording(nets, (batch, size, form, out))

    def weights_changed(self, tag: str) -> None:
        # In place, and behind the frames that were enqueued before: the recorded graphs read these very tensors.
        self._folded.refresh()
        for features in self._features.values():
            features.forget()

    def _descend(self, frames: FrameInputs, batch: int) -> None:
        """See to it that the features are those of these noises and prompts."""
        height, width = frames.maps.shape[-2:]
        features, keys = self._features[height, width], keys_of(frames)
        if not features.are_of(keys):
            self._descents[batch, (height, width)]()
            features.now_of(keys, batch)

    def _recording(self, nets: tuple[int, ...], shape: _Shape) -> Work:
        key = (nets, shape)
        if key not in self._recorded:
            with compiling():
                self._compile(shape)
                self._recorded[key] = self._recorder.record(self._work(nets, shape))
        return self._recorded[key]

    def _compile(self, shape: _Shape) -> None:
        """All parts, so that no later choice of controls waits for the compiler."""
        batch, maps_size, _, size = shape
        if (batch, maps_size) in self._compiled:
            return
        self._record_descent(batch, maps_size)
        for nets in ((), *((net,) for net in range(len(self._graph.controlnets)))):
            for form in FORMS:
                self._recorder.warm(self._work(nets, (batch, maps_size, form, size)))
        self._compiled.add((batch, maps_size))

    def _record_descent(self, batch: int, size: Size) -> None:
        inputs, _ = self._inputs.views(batch, 0, size)
        if size not in self._features:
            # What it gives tells what room it takes.
            self._features[size] = StaticFeatures(self._frames.descend(inputs), capacity=self.batches[-1])
        features = self._features[size]
        self._descents[batch, size] = self._recorder.record(lambda: features.write(self._frames.descend(inputs)))
        features.forget()  # recording has run it

    def _work(self, nets: tuple[int, ...], shape: _Shape) -> Work:
        batch, maps_size, form, size = shape
        inputs, inverted = self._inputs.views(batch, len(nets), maps_size)
        features = self._features[maps_size].views(batch)
        written = self._pictures_of(form, size).written[:batch]
        return lambda: written.copy_(self._frames(inputs, features, inverted, nets, form, size))

    def _pictures_of(self, form: Form, size: Size) -> Pictures:
        if (form, size) not in self._pictures:
            self._pictures[form, size] = Pictures(form, size, capacity=self.batches[-1], device=self._device)
        return self._pictures[form, size]

    def _as_it_is(self, frames: FrameInputs, nets: tuple[int, ...], form: Form, size: Size) -> Tensor:
        inputs, inverted = stack_frames(frames)
        pictures: Tensor = FrameGraph(self._graph)(inputs, inverted, nets, form, size)
        return pictures


def _put_channels_last(graph: PaintGraph) -> None:
    """The weights of convolutions, in place: for whoever shares them, only their order in memory is another."""
    for parameter in graph.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
