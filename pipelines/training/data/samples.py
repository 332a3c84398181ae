"""The paper's data-free mode: the teacher's own deterministic samples, made once and kept on disk.

DIR/samples/manifest.json and {train,held-out}/shard-00000.safetensors. A shard holds ``PER_SHARD`` samples: latents,
uint8 pictures, prompts and the seed of each noise. The noise itself is drawn again from its seed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from accelerate import PartialState
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from safetensors.torch import save_file
from torch import Tensor

from pipelines.errors import TrainingError
from pipelines.training.data.dataset import open_data
from pipelines.training.data.manifest import check_manifest, digest_of
from pipelines.training.data.order import index_at
from pipelines.training.data.shard_file import length, opened
from pipelines.training.model import Model
from pipelines.training.sampling import sample

if TYPE_CHECKING:
    from pipelines.training.run import Run

PER_SHARD = 64
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, kw_only=True)
class SamplesPlan:
    """``count`` to train on and ``held_out`` to validate with; ``steps`` and ``guidance`` of the teacher's sampler;
    ``batch``: how many at once; ``precision`` of its U-Net. Numbers may grow later: what is there stays."""

    count: int
    held_out: int
    steps: int = 25
    guidance: float = 7.5
    batch: int = 16
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"


class Samples:
    """The samples of one folder. ``prompts``: one a sample; the noise of the first is of ``first_seed``, and so on."""

    def __init__(self, folder: Path, prompts: Sequence[str], first_seed: int) -> None:
        self._folder, self.prompts, self._first_seed = folder, prompts, first_seed

    def __len__(self) -> int:
        return len(self.prompts)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """``noise`` and ``latents`` C×h×w, ``picture`` 3×H×W in [−1, 1], all float32, and ``prompt``."""
        latents = self._read("latents", index)
        picture = torch.from_numpy(self.picture(index)).permute(2, 0, 1).float()
        return {
            "noise": noise_of(int(self._read("seeds", index)), latents.shape),
            "latents": latents,
            "picture": picture / 127.5 - 1,
            "prompt": self.prompts[index],
        }

    def picture(self, index: int) -> NDArray[np.uint8]:
        """uint8 H×W×3 RGB."""
        picture: NDArray[np.uint8] = self._read("pictures", index).numpy()
        return picture

    def seeds(self, shard: int) -> range:
        """The seeds of a shard's noise, one a sample."""
        return range(self._first_seed + shard * PER_SHARD, self._first_seed + min((shard + 1) * PER_SHARD, len(self)))

    def file(self, shard: int) -> Path:
        return self._folder / f"shard-{shard:05d}.safetensors"

    @property
    def shards(self) -> int:
        """How many there are to be."""
        return -(-len(self) // PER_SHARD)

    def lacks(self, shard: int) -> bool:
        """Whether it is not there, or shorter than it has to be."""
        return length(self.file(shard)) < len(self.seeds(shard))

    def _read(self, name: str, index: int) -> Tensor:
        if not 0 <= index < len(self):
            raise IndexError(f"{index} of {len(self)}")
        shard, row = divmod(index, PER_SHARD)
        tensor: Tensor = opened(self.file(shard)).get_slice(name)[row]
        return tensor


def ensure_samples(run: Run, teacher: Model, *, device: torch.device) -> tuple[Samples, Samples]:
    """The samples of a run, to train on and held out: those that are missing are made, by all processes together.

    Raises TrainingError for a folder with samples of another teacher, plan or data.
    """
    plan, size = run.recipe.samples, run.recipe.size
    train, held_out = open_data(run.data or run.recipe.data, size)
    folder, state = run.folder / "samples", PartialState()
    parts = (
        Samples(folder / "train", _repeated(train.prompts, plan.count), 0),
        Samples(folder / "held-out", _repeated(held_out.prompts, plan.held_out), 1 << 31),  # seeds have 32 bits
    )
    # Every process looks, so that all of them stop where one has to.
    check_manifest(folder, _made_of(plan, size, teacher, train.prompts), writes=state.is_main_process)
    state.wait_for_everyone()
    shards = [(part, shard) for part in parts for shard in range(part.shards)]
    own = [(part, shard) for part, shard in shards[state.process_index :: state.num_processes] if part.lacks(shard)]
    if own:
        teacher.to(device)
        _make(teacher, plan, size, own, device, show=state.is_main_process)
    state.wait_for_everyone()
    return parts


def noise_of(seed: int, shape: Sequence[int]) -> Tensor:
    """The noise a sample starts from, the same on every machine."""
    return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(seed))


def _repeated(prompts: Sequence[str], count: int) -> list[str]:
    """``count`` of the prompts in a mixed order, all of them once before any comes again."""
    return [prompts[index_at(position, len(prompts))] for position in range(count)]


def _make(
    teacher: Model,
    plan: SamplesPlan,
    size: tuple[int, int],
    shards: Sequence[tuple[Samples, int]],
    device: torch.device,
    show: bool,
) -> None:
    with Progress(console=Console(stderr=True), transient=True, disable=not show) as progress:
        bar = progress.add_task("The teacher's samples", total=sum(len(part.seeds(shard)) for part, shard in shards))
        for part, shard in shards:
            seeds, pieces = part.seeds(shard), []
            for start in range(0, len(seeds), plan.batch):
                chosen = seeds[start : start + plan.batch]
                first = shard * PER_SHARD + start
                pieces.append(_paint(teacher, plan, size, chosen, part.prompts[first : first + len(chosen)], device))
                progress.advance(bar, len(chosen))
            _write(part.file(shard), pieces, seeds, part.prompts[shard * PER_SHARD :][: len(seeds)])


def _paint(
    teacher: Model,
    plan: SamplesPlan,
    size: tuple[int, int],
    seeds: Sequence[int],
    prompts: Sequence[str],
    device: torch.device,
) -> dict[str, Tensor]:
    """``latents`` B×C×h×w float32 and ``pictures`` B×H×W×3 uint8, on the CPU. Raises TrainingError for a NaN."""
    noise = torch.stack([noise_of(seed, teacher.latent_shape(*size)) for seed in seeds]).to(device)
    half = plan.precision != "fp32"
    with torch.autocast(device.type, _DTYPES.get(plan.precision, torch.bfloat16), enabled=half):
        latents = sample(teacher, noise, prompts, steps=plan.steps, guidance=plan.guidance).float()
    if not latents.isfinite().all():
        raise TrainingError(
            f"The teacher gave no numbers for {prompts[0]!r} or one of the {len(prompts) - 1} prompts after it; "
            + ("set the samples' precision to fp32." if half else "its weights are broken.")
        )
    with torch.no_grad():
        decoded = teacher.decode(latents)
    pictures = decoded.clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8).permute(0, 2, 3, 1)
    return {"latents": latents.cpu(), "pictures": pictures.cpu()}


def _write(file: Path, pieces: Sequence[Mapping[str, Tensor]], seeds: Sequence[int], prompts: Sequence[str]) -> None:
    """In one piece: after a kill the file is there whole or not at all."""
    tensors = {name: torch.cat([piece[name] for piece in pieces]).contiguous() for name in pieces[0]}
    tensors["seeds"] = torch.tensor(list(seeds))
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".part")
    save_file(tensors, partial, metadata={"prompts": json.dumps(list(prompts))})
    os.replace(partial, file)
    opened.cache_clear()  # it may have replaced a shorter one


def _made_of(plan: SamplesPlan, size: tuple[int, int], teacher: Model, prompts: Sequence[str]) -> dict[str, Any]:
    return {
        "teacher": _digest_of(teacher),
        "prompts": hashlib.sha256("\n".join(prompts).encode()).hexdigest()[:16],
        "size": list(size),
        "steps": plan.steps,
        "guidance": plan.guidance,
        "precision": plan.precision,
        "prediction": teacher.diffusion.prediction,
    }


def _digest_of(teacher: Model) -> str:
    """Of what makes its samples."""
    scheduler = json.dumps(dict(teacher.diffusion.scheduler), sort_keys=True, default=str)
    return digest_of([teacher.unet, teacher.vae, *teacher.text_encoders], scheduler)
