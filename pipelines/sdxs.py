"""SDXSPipeline: condition maps and settings in, pictures out, one step each."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from pipelines.album import find_album
from pipelines.backends import make_backend
from pipelines.backends.base import FrameInputs, stack_rows
from pipelines.backends.eager import EagerBackend
from pipelines.batch import check_batch, check_maps
from pipelines.checkpoint import Checkpoint, load_checkpoint
from pipelines.colours import ColourEncoder, ColourEntry
from pipelines.condition import DRAWN
from pipelines.device import INTEL_GPU, pick_device, pick_dtype
from pipelines.errors import PipelineError
from pipelines.files import ModelFiles
from pipelines.fold import Constants
from pipelines.frame_graph import Form
from pipelines.graph import PaintGraph, PaintInputs
from pipelines.locate import locate
from pipelines.lora import Adapter, LoraSwitch, load_lora
from pipelines.memory import check as check_memory
from pipelines.presets import Preset
from pipelines.prompt import PromptEncoder
from pipelines.recent import Recent
from pipelines.sampler import one_step
from pipelines.settings import Kind, Settings
from pipelines.sizes import check_size, smaller_ones
from pipelines.start import Start


class SDXSPipeline:
    """A one-step text- and map-guided painter (SDXS, arXiv 2403.16627), and others of the SD 1.x, 2.x and XL families.

    One call paints a batch of B different settings. Not thread-safe: one thread owns it.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        preset: Preset,
        *,
        backend: str = "auto",
        device: torch.device | None = None,
        size: tuple[int, int] | None = None,
        loras: dict[str, Adapter] | None = None,
        max_batch: int = 16,
        directory: Path | None = None,
        intel_gpu: bool = False,
    ) -> None:
        self.preset = preset
        self.name = preset.name
        self.size = size or preset.size
        self._max_batch = max_batch
        self.device = device or torch.device("cpu")
        self.dtype: torch.dtype = next(checkpoint.unet.parameters()).dtype
        self.controls: tuple[Kind, ...] = tuple(checkpoint.controlnets)
        self.loras = tuple(loras or {})
        #: What it looks up where it paints from text alone, if it has an album; whoever draws its maps asks it.
        self.album = find_album(directory, self.controls)
        self._inverted = {c.kind for c in preset.controls if c.polarity != DRAWN[c.kind]}
        encoders = [encoder.to(self.device) for encoder in checkpoint.text_encoders]
        self._encode_prompt = PromptEncoder(checkpoint.tokenizers, encoders)
        entry = ColourEntry(ColourEncoder(checkpoint.vae)).to(self.device)
        channels = int(checkpoint.unet.config.in_channels)
        self._start = Start(entry, channels=channels, device=self.device, dtype=self.dtype)
        networks = list({id(net): net for net in checkpoint.controlnets.values()}.values())
        self._nets = {kind: _place(net, networks) for kind, net in checkpoint.controlnets.items()}
        graph = PaintGraph(
            unet=checkpoint.unet, controlnets=networks, vae=checkpoint.vae, step=one_step(checkpoint.scheduler)
        )
        self._is_xl = graph.pooled_width > 0
        graph = graph.eval().to(self.device)
        if graph.decode.upcast:
            graph.decode.float()
        self._graph = graph
        self._backend = make_backend(
            backend, graph, device=self.device, directory=directory, intel_gpu=intel_gpu, max_batch=max_batch
        )
        self._lora = LoraSwitch(checkpoint.unet, loras or {})
        #: Each is some MB at full size.
        self._constants: Recent[tuple[object, ...], Constants] = Recent(32)

    @classmethod
    def from_pretrained(
        cls,
        name_or_dir: str | Path = "embedded",
        *,
        backend: str = "auto",
        device: str = "auto",
        dtype: torch.dtype | None = None,
        size: tuple[int, int] | None = None,
        controlnets: Sequence[str] = (),
        loras: Sequence[str] = (),
        vae: str | None = None,
    ) -> SDXSPipeline:
        """Load a preset by name, a directory in the diffusers layout, or a repository (``owner/name``).

        ``device``: ``auto`` (CUDA where there is one), ``cpu``, ``cuda``, ``cuda:N``, ``intel-gpu``. ``dtype``: unless
        given, what the model needs, else fp16 on CUDA and fp32 on a CPU. ``size``: (height, width), not the native one.
        ``controlnets`` (``canny=REPO_OR_DIR``), ``loras`` (``NAME=REPO_OR_PATH``) and ``vae``: see ``locate``. Raises
        CheckpointError, MisfitError, DownloadError, MemoryShortage or BackendError.
        """
        intel_gpu = device == INTEL_GPU
        where = pick_device("cpu" if intel_gpu else device)
        half = where.type == "cuda" if dtype is None else dtype.itemsize == 2
        files = locate(name_or_dir, controlnets=controlnets, loras=loras, vae=vae, half=half)
        return cls.from_files(files, backend=backend, device=where, dtype=dtype, size=size, intel_gpu=intel_gpu)

    @classmethod
    def from_files(
        cls,
        files: ModelFiles,
        *,
        backend: str = "auto",
        device: torch.device,
        dtype: torch.dtype | None = None,
        size: tuple[int, int] | None = None,
        intel_gpu: bool = False,
    ) -> SDXSPipeline:
        """The same for files that are here (``pipelines.locate``)."""
        precision = dtype or pick_dtype(files.preset, device)
        check_size(size or files.preset.size)
        max_batch = check_memory(files, dtype=precision, device=device, size=size or files.preset.size, backend=backend)
        checkpoint = load_checkpoint(files, dtype=precision)
        loras = {name: load_lora(path, checkpoint.unet) for name, path in files.loras.items()}
        return cls(
            checkpoint,
            files.preset,
            backend=backend,
            device=device,
            size=size,
            loras=loras,
            max_batch=max_batch,
            directory=files.directory,
            intel_gpu=intel_gpu,
        )

    @property
    def backend_name(self) -> str:
        """The backend that runs, after ``auto`` was decided."""
        return self._backend.name

    @property
    def sizes(self) -> Sequence[tuple[int, int]]:
        """The (height, width) it paints without a delay: its own, about three quarters and half of it.

        Backends for which another size is dear have the smaller ones only after a ``prepare`` with that size.
        """
        return self._backend.sizes(smaller_ones(self.size))

    @property
    def forms(self) -> Sequence[Form]:
        """What the frame path can give its pictures as."""
        return ("rgb", "yuv")

    @property
    def batches(self) -> Sequence[int]:
        """The batch sizes it is built for, rising, as far as memory allows."""
        return [each for each in self._backend.batches if each <= self._max_batch]

    @property
    def least_psnr(self) -> float | None:
        """Decibels that its pictures keep to eager's, where the backend differs from that by more than rounding."""
        return self._backend.least_psnr

    def reference(self) -> SDXSPipeline:
        """The same model painted by the eager backend, which the others are checked against; it has no weights of its
        own. A LoRA is changed by the original, which has to paint first.
        """
        twin = copy.copy(self)
        twin._backend = EagerBackend(self._graph, self.device)
        twin._constants = Recent(32)
        # A backend may have taken the weights in full precision.
        twin.dtype = next(self._graph.unet.parameters()).dtype
        twin._start = self._start.retyped(twin.dtype)
        return twin

    def prepare(self, settings: Settings, *, size: tuple[int, int] | None = None) -> None:
        """Do the work that is the same for every frame: encode prompts, draw noise, fold in the LoRA.

        Both ends of a blend are prepared, so that a walk which begins at one doesn't stumble.
        """
        height, width = size or self.size
        nets = self._nets_of(settings)
        self._use_lora(settings)
        for prompt in {settings.prompt, settings.prompt_b or settings.prompt}:
            self._constants_of(settings.replace(prompt=prompt, blend=0.0), (height, width))
        self._start.draw(settings, (height, width))
        self._backend.prepare(nets, (height, width))

    @torch.inference_mode()
    def __call__(
        self,
        condition_maps: Tensor,
        settings: Sequence[Settings],
        *,
        noise: Tensor | None = None,
        colours: Tensor | None = None,
    ) -> Tensor:
        """Paint B pictures.

        ``condition_maps``: float B×3×H×W in [0, 1] as the conditioner draws them (canny: white on black), H and W
        multiples of 32; B×K×3×H×W in the order of ``settings[i].kinds`` where that is not one map (K = 0 for text
        alone, the size being said all the same). ``settings``: one for each sample, of the same kinds and LoRA.
        ``noise``: B×C×H/8×W/8 instead of the seeds'. ``colours``: uint8 B×H/4×W/4×3, the camera pictures shrunk by
        area, for samples with an ``init_strength``. Returns float B×3×H×W in [0, 1]. Raises PipelineError when they
        don't fit.
        """
        maps = condition_maps.unsqueeze(1) if condition_maps.ndim == 4 else condition_maps
        check_maps(maps, settings)
        height, width = maps.shape[-2:]
        nets = self._nets_of(settings[0])
        self._use_lora(settings[0])

        # 1. The maps in the polarity that each ControlNet was trained with.
        control = self._in_polarity(maps.to(self.device, self.dtype), settings[0].kinds)

        # 2. What each sample's settings stand for: embeddings, noise, strengths.
        constants = [self._constants_of(each, (height, width)) for each in settings]
        if noise is None:
            start = torch.stack(list(self.start(settings, colours, (height, width))))
        else:
            start = self._start.entered(noise.to(self.device, self.dtype), settings, colours, self._backend)

        # 3. ControlNets, U-Net, the one step, the decoder.
        inputs = PaintInputs(
            noise=start,
            maps=control,
            scales=torch.tensor([each.scales for each in settings], dtype=self.dtype, device=self.device),
            **stack_rows(constants),
        )
        return self._backend(inputs, nets)

    @torch.inference_mode()
    def paint_uint8(
        self, maps: Tensor, settings: Sequence[Settings], colours: Tensor | None = None, *, form: Form = "rgb"
    ) -> Tensor:
        """The same for the frame path, all on ``device``: maps uint8 B×K×h×w, pictures uint8 of ``size`` in ``form``.

        ``rgb``: B×H×W×3. ``yuv``: the planes of I420, B×(3H/2)×W. Maps may be smaller than ``size`` (see ``sizes``).
        The pictures may be written over by the next call but one.
        """
        check_batch(maps, settings)
        height, width = maps.shape[-2:]
        self._use_lora(settings[0])
        frames = FrameInputs(
            maps=maps,
            noise=self.start(settings, colours, (height, width)),
            constants=[self._constants_of(each, (height, width)) for each in settings],
            scales=[each.scales for each in settings],
            inverted=[tuple(kind in self._inverted for kind in each.kinds) for each in settings],
        )
        return self._backend.paint(frames, self._nets_of(settings[0]), form, self.size)

    def _use_lora(self, settings: Settings) -> None:
        if self._lora.use(settings.lora, settings.lora_scale):
            self._backend.weights_changed("{}:{}".format(*self._lora.state))
            self._constants.clear()

    def _constants_of(self, settings: Settings, size: tuple[int, int]) -> Constants:
        blend = (settings.prompt_b, settings.blend) if settings.blend > 0.0 and settings.prompt_b else None
        key = (settings.prompt, blend, size if self._is_xl else None)
        ids = self._time_ids(*size) if self._is_xl else None
        return self._constants.get(key, lambda: self._backend.constants(self._encode_prompt.of(settings), ids))

    def _nets_of(self, settings: Settings) -> tuple[int, ...]:
        for kind in settings.kinds:
            if kind not in self._nets:
                have = ", ".join(self._nets) or "none at all"
                raise PipelineError(f"{self.name} has no ControlNet for {kind}; it has {have}. Use control 'none'.")
        return tuple(self._nets[kind] for kind in settings.kinds)

    def _in_polarity(self, maps: Tensor, kinds: Sequence[Kind]) -> Tensor:
        if not self._inverted.intersection(kinds):
            return maps
        return torch.stack(
            [1 - maps[:, k] if kind in self._inverted else maps[:, k] for k, kind in enumerate(kinds)], 1
        )

    def start(self, settings: Sequence[Settings], colours: Tensor | None, size: tuple[int, int]) -> Sequence[Tensor]:
        """x_T of each sample, C×H/8×W/8, with the camera's colours where it keeps any. ``size``: (height, width)."""
        return self._start.of(settings, colours, size, self._backend)

    def _time_ids(self, height: int, width: int) -> Tensor:
        """Original size, crop, target size: all of them the picture itself."""
        return torch.tensor([height, width, 0, 0, height, width], dtype=self.dtype, device=self.device)


def _place(net: object, networks: Sequence[object]) -> int:
    return next(i for i, each in enumerate(networks) if each is net)
