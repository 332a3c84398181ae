"""SDXSPipeline: condition maps and settings in, pictures out, one step each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from pipelines.backends import make_backend
from pipelines.checkpoint import Checkpoint, load_checkpoint
from pipelines.errors import BackendError, PipelineError
from pipelines.graph import PaintGraph
from pipelines.noise import NoiseBank
from pipelines.presets import Preset, find_model, read_preset
from pipelines.prompt import PromptEncoder
from pipelines.sampler import one_step
from pipelines.settings import Settings

#: Sides must be whole latent pixels at every stage of the U-Net: 8 (decoder) × 4 (two downsamplings).
SIDE_MULTIPLE = 32


class SDXSPipeline:
    """A one-step text- and map-guided painter (SDXS, arXiv 2403.16627).

    One call paints a batch of B different settings. Not thread-safe: one thread owns it.
    """

    def __init__(
        self, checkpoint: Checkpoint, preset: Preset, *, backend: str = "auto", device: torch.device | None = None
    ) -> None:
        self.preset = preset
        self.name = preset.name
        self.size = preset.size
        self.device = device or torch.device("cpu")
        self.has_control = checkpoint.controlnet is not None
        self._channels = int(checkpoint.unet.config.in_channels)
        self._inverted = preset.controls[0].polarity == "black on white" if preset.controls else False
        self._dtype = next(checkpoint.unet.parameters()).dtype
        self._encode_prompt = PromptEncoder(checkpoint.tokenizer, checkpoint.text_encoder.to(self.device))
        self._noise = NoiseBank(device=self.device, dtype=self._dtype)
        graph = PaintGraph(
            unet=checkpoint.unet,
            controlnet=checkpoint.controlnet,
            vae=checkpoint.vae,
            step=one_step(checkpoint.scheduler),
        )
        self._backend = make_backend(backend, graph.eval(), device=self.device)

    @classmethod
    def from_pretrained(
        cls,
        name_or_dir: str | Path = "embedded",
        *,
        backend: str = "auto",
        device: str = "auto",
        dtype: torch.dtype | None = None,
        controlnet: str | Path | None = None,
    ) -> SDXSPipeline:
        """Load a preset by name or a directory in the diffusers layout.

        ``device``: ``auto`` (CUDA where there is one), ``cpu``, ``cuda`` or ``cuda:N``. ``dtype``: fp16 on CUDA and
        fp32 on a CPU unless given. ``controlnet``: a directory of its own. Raises CheckpointError or BackendError.
        """
        where = pick_device(device)
        directory = find_model(name_or_dir)
        preset = read_preset(directory)
        precision = dtype or (torch.float16 if where.type == "cuda" else torch.float32)
        beside = Path(controlnet) if controlnet else None
        checkpoint = load_checkpoint(directory, controlnet=beside, dtype=precision)
        return cls(checkpoint, preset, backend=backend, device=where)

    @property
    def backend_name(self) -> str:
        """The backend that runs, after ``auto`` was decided."""
        return self._backend.name

    def prepare(self, settings: Settings, *, size: tuple[int, int] | None = None) -> None:
        """Do the work that is the same for every frame: encode the prompt, draw the noise."""
        height, width = size or self.size
        self._encode_prompt(settings.prompt)
        self._noise(settings.seed, self._channels, height // 8, width // 8)

    @torch.inference_mode()
    def __call__(self, condition_maps: Tensor, settings: Sequence[Settings], *, noise: Tensor | None = None) -> Tensor:
        """Paint B pictures.

        ``condition_maps``: float B×3×H×W in [0, 1] as the conditioner draws them (canny: white on black); H and W are
        multiples of 32. ``settings``: one for each sample. ``noise``: B×C×H/8×W/8 instead of the seeds'. Returns float
        B×3×H×W in [0, 1]. Raises PipelineError when the shapes don't fit.
        """
        self._check(condition_maps, settings)
        height, width = condition_maps.shape[-2:]

        # 1. The map in the polarity that this ControlNet was trained with.
        control = condition_maps.to(self.device, self._dtype)
        control = 1 - control if self._inverted else control

        # 2. What each sample's settings stand for: embeddings, noise, strength.
        embeddings = torch.stack([self._encode_prompt(each.prompt) for each in settings]).to(self._dtype)
        if noise is None:
            seeds = [self._noise(each.seed, self._channels, height // 8, width // 8) for each in settings]
            noise = torch.stack(seeds)
        scale = torch.tensor([each.conditioning_scale for each in settings], dtype=self._dtype, device=self.device)

        # 3. ControlNet, U-Net, the one step, the decoder.
        return self._backend(control, noise.to(self.device, self._dtype), embeddings, scale)

    @torch.inference_mode()
    def paint_uint8(self, maps: Tensor, settings: Sequence[Settings]) -> Tensor:
        """The same for the frame path: maps uint8 B×H×W, pictures uint8 B×H×W×3, both on ``device``."""
        control = maps.to(self._dtype).div(255).unsqueeze(1).expand(-1, 3, -1, -1)
        pictures = self(control, settings)
        return pictures.mul(255).round_().to(torch.uint8).permute(0, 2, 3, 1).contiguous()

    def _check(self, maps: Tensor, settings: Sequence[Settings]) -> None:
        if maps.ndim != 4 or maps.shape[1] != 3 or not maps.is_floating_point():
            raise PipelineError(f"Condition maps are float B×3×H×W; these are {maps.dtype} {list(maps.shape)}.")
        if len(maps) != len(settings) or not len(maps):
            raise PipelineError(
                f"There are {len(maps)} condition maps but {len(settings)} settings; give one for each."
            )
        if maps.shape[2] % SIDE_MULTIPLE or maps.shape[3] % SIDE_MULTIPLE or not maps.shape[2] * maps.shape[3]:
            raise PipelineError(
                f"Pictures of {maps.shape[3]}×{maps.shape[2]} can't be painted; give sides that are multiples of "
                f"{SIDE_MULTIPLE}."
            )


def pick_device(name: str) -> torch.device:
    """``auto``, ``cpu``, ``cuda`` or ``cuda:N``. Raises BackendError when that device isn't here."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise BackendError(f"There is no device {name!r}; use auto, cpu, cuda or cuda:N.") from None
    if device.type not in {"cpu", "cuda"}:
        raise BackendError(f"The device {name!r} is not supported; use auto, cpu, cuda or cuda:N.")
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        raise BackendError(f"The device {name!r} is not here (no such CUDA GPU is visible); use --device cpu.")
    return device
