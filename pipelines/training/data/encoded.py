"""Latents of a data set's own pictures, encoded once and kept: what a small model learns picture and map together from.

DIR/encoded/colours.json, and {train,held-out}/shard-00000.safetensors of ``PER_SHARD`` samples: latents, maps, the low
band that the noise of each stands for, the camera's colours, the conditioning scale each is meant for, and how far it
lies from its own style to its neighbour's.

The noise is coupled with the picture's colours (Albergo et al., arXiv 2310.03725: a coupling that depends on the data).
Where a picture keeps its camera's, they enter its noise exactly as ``pipelines.colours`` enters them; elsewhere the
noise's low band is normal, as it is in any noise, and the picture was drawn in the colours that it stands for. So one
step from noise has nothing to guess: seeds give palettes, ``init_strength`` the camera's.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from safetensors.torch import save_file
from torch import Tensor

from pipelines.colours import BAND, ColourEncoder, enter
from pipelines.errors import TrainingError, TrainingStopped
from pipelines.training.data.dataset import open_data
from pipelines.training.data.manifest import check_manifest, digest_of
from pipelines.training.data.meaning import Meaning, find_meaning
from pipelines.training.data.order import index_at
from pipelines.training.data.shard_file import length, opened
from pipelines.training.data.tensor import tensor_of
from pipelines.training.model import FACTOR, Model

if TYPE_CHECKING:
    from pipelines.training.drawn.styled import Example
    from pipelines.training.run import Run

PER_SHARD = 64


class Examples(Protocol):
    """Data that come with maps and colours (``drawn.styled``); neighbours 2i and 2i + 1 are one scene in two styles."""

    @property
    def prompts(self) -> Sequence[str]: ...

    def __len__(self) -> int: ...

    def example(self, index: int, field: NDArray[np.float32] | None, blend: float = 0.0) -> Example: ...


@dataclass(frozen=True, kw_only=True)
class EncodedPlan:
    """``count`` samples to train on and ``held_out`` to validate with. ``mixed``: the share that is drawn somewhere
    between the two styles of its scene, for a blend of both prompts. ``least_kept``: how little of a camera's colours
    half of the samples that have them may keep (the others keep all)."""

    count: int
    held_out: int
    mixed: float = 0.2
    least_kept: float = 0.3


class Encoded:
    """The samples of one folder. ``first``: where the noise's seeds begin, so that no part shares them."""

    def __init__(self, folder: Path, prompts: Sequence[str], plan: EncodedPlan, first: int) -> None:
        self._folder, self.prompts, self._plan, self._first = folder, prompts, plan, first

    def __len__(self) -> int:
        return len(self.prompts)

    def at(
        self,
        position: int,
        *,
        seed: int,
        crop: int = 0,
        depths: float = 0.0,
        between: float = 0.0,
        pictures: bool = False,
    ) -> dict[str, Any]:
        """The sample at a position of an endless mixed order, a square of ``crop`` latents (0: all of it).

        ``depths``: the share of samples, beside those that come up, whose map is a depth; ``between``: of those between
        two styles. ``pictures``: with the ``picture``, 3×H×W in [−1, 1].
        """
        rng = np.random.default_rng((seed, position))
        index = index_at(position, len(self), seed)
        if depths and rng.random() < depths:
            index = self._next(index, 2, self._is_depth)
        elif between and rng.random() < between:
            index = self._next(index, 1, self._is_between)
        return self._sample(index, rng, crop, pictures)

    def _next(self, index: int, step: int, fits: Callable[[int], bool]) -> int:
        """The first from ``index`` on, ``step`` by step, that fits; the same one where none does."""
        others = ((index + away) % len(self) for away in range(0, len(self), step))
        return next((at for at in others if fits(at)), index)

    def _is_depth(self, index: int) -> bool:
        """Depths are greys, and lines hardly."""
        drawn = self._read("maps", index)
        return bool(((drawn > 0) & (drawn < 255)).float().mean() > 0.3)

    def _is_between(self, index: int) -> bool:
        return bool(self._read("blends", index))

    def latents(self, index: int) -> Tensor:
        """C×h×w."""
        return self._read("latents", index).float()

    def picture(self, index: int, *, seed: int, crop: int = 0) -> dict[str, Any]:
        """``latents`` C×h×w and the ``picture`` they were made of, 3×H×W in [−1, 1], a random square of both."""
        latents, rng = self._read("latents", index).float(), np.random.default_rng((seed, index))
        top, left, (high, wide) = _window(latents.shape[-2:], crop, rng)
        drawn = self._read("pictures", index)
        drawn = drawn[FACTOR * top : FACTOR * (top + high), FACTOR * left : FACTOR * (left + wide)]
        return {"latents": latents[:, top : top + high, left : left + wide], "picture": tensor_of(drawn.numpy())}

    def __getitem__(self, index: int) -> dict[str, Any]:
        """``noise`` and ``latents`` C×h×w, ``map`` 3×H×W in [0, 1], ``scale`` (the conditioning scale), ``prompt``,
        ``prompt_b`` and ``blend``; the same at every call."""
        if not 0 <= index < len(self):
            raise IndexError(f"{index} of {len(self)}")
        return self._sample(index, np.random.default_rng((self._first, index)), 0, False)

    def _sample(self, index: int, rng: np.random.Generator, crop: int, pictures: bool) -> dict[str, Any]:
        latents, blend = self._read("latents", index).float(), self._read("blends", index)
        top, left, side = _window(latents.shape[-2:], crop, rng)
        latents = latents[:, top : top + side[0], left : left + side[1]]
        y, x, high, wide = (FACTOR * each for each in (top, left, *side))
        drawn = self._read("maps", index)[y : y + high, x : x + wide].float() / 255
        found = {}
        if pictures:
            picture = self._read("pictures", index)[y : y + high, x : x + wide]
            found["picture"] = picture.permute(2, 0, 1) / 127.5 - 1
        return {
            **found,
            "noise": self._noise(index, (top, left), latents.shape, rng),
            "latents": latents,
            "map": drawn.expand(3, -1, -1),
            "scale": self._read("scales", index),
            "prompt": self.prompts[index],
            "prompt_b": self.prompts[index ^ 1] if blend else "",
            "blend": blend,
        }

    def _noise(self, index: int, corner: tuple[int, int], shape: Sequence[int], rng: np.random.Generator) -> Tensor:
        """Normal, and in it the colours that the picture was drawn with; ``corner``: of the square, top and left."""
        camera = bool(self._read("cameras", index))
        part = rng.random() < 0.5
        share = float(rng.uniform(self._plan.least_kept, 1)) if camera and part else 1.0
        colours = self._read("colours" if camera else "bands", index).float()
        band = self._read("latents", index).shape[-1] // colours.shape[-1]
        (top, left), (high, wide) = (each // band for each in corner), (each // band for each in shape[-2:])
        cut = colours[:, top : top + high, left : left + wide]
        normal = torch.from_numpy(rng.standard_normal((1, *shape), dtype=np.float32))
        return enter(normal, cut[None], torch.tensor([share]), band=band)[0]

    def file(self, shard: int) -> Path:
        return self._folder / f"shard-{shard:05d}.safetensors"

    def indices(self, shard: int) -> range:
        """The samples of a shard."""
        return range(shard * PER_SHARD, min((shard + 1) * PER_SHARD, len(self)))

    @property
    def shards(self) -> int:
        """How many there are to be."""
        return -(-len(self) // PER_SHARD)

    def lacks(self, shard: int) -> bool:
        """Whether it is not there, or shorter than it has to be."""
        return length(self.file(shard)) < len(self.indices(shard))

    def make(self, shard: int, model: Model, data: Examples, meaning: Meaning) -> None:
        """Draw, encode and write one shard."""
        seeds = [(self._first, index // 2) for index in self.indices(shard)]
        rows = [
            _row(model, data, meaning, index, seed, self._blend(index))
            for index, seed in zip(self.indices(shard), seeds, strict=True)
        ]
        stacked = {name: torch.stack([row[name] for row in rows]).contiguous() for name in rows[0]}
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = self.file(shard).with_suffix(".part")
        save_file(stacked, partial)
        partial.replace(self.file(shard))

    def _blend(self, index: int) -> float:
        """How far a sample is drawn on the way to its neighbour's style; 0 for most, and without a neighbour."""
        rng = np.random.default_rng((self._first, index, 1))
        mixed = rng.random() < self._plan.mixed and (index ^ 1) < len(self)
        return float(rng.random()) if mixed else 0.0

    def _read(self, name: str, index: int) -> Tensor:
        shard, row = divmod(index, PER_SHARD)
        tensor: Tensor = opened(self.file(shard)).get_slice(name)[row]
        return tensor


def ensure_encoded(run: Run, model: Model, *, device: torch.device) -> tuple[Encoded, Encoded]:
    """What a run trains with and what is held out; what is missing is made, by all processes together.

    ``model``: whose autoencoder encodes. Raises TrainingError for data without maps and colours, and where
    the folder's are of another autoencoder or other pictures.
    """
    plan, state = run.recipe.encoded, PartialState()
    if plan is None:
        raise TrainingError(
            f"The recipe {run.recipe.name} says nothing of encoded pictures; its stages can't use them."
        )
    data = [_with_maps(part) for part in open_data(run.data or run.recipe.data, run.recipe.size)]
    folder, counts = run.folder / "encoded", (plan.count, plan.held_out)
    parts = tuple(
        Encoded(folder / name, list(each.prompts[: min(count, len(each))]), plan, first)
        for name, each, count, first in zip(("train", "held-out"), data, counts, (0, 1 << 31), strict=True)
    )
    made_of = _made_of(model, run.recipe.size, plan.mixed, parts)
    check_manifest(folder, made_of, writes=state.is_main_process)
    todo = [(part, each, shard) for part, each in zip(parts, data, strict=True) for shard in range(part.shards)]
    own = [entry for entry in todo[state.process_index :: state.num_processes] if entry[0].lacks(entry[2])]
    model.to(device)
    with state.main_process_first():
        meaning = find_meaning(folder / "colours.json", model, data[0])
    left = len(own)
    with Progress(console=Console(stderr=True), transient=True, disable=not state.is_main_process) as progress:
        for part, each, shard in progress.track(own, description="Pictures to latents"):
            if time.monotonic() >= run.ends:
                break
            part.make(shard, model, each, meaning)
            left -= 1
    if any(gather_object([left])):  # each stops by its own clock: whoever is done must not wait for who has gone
        raise TrainingStopped("The time is up; the same command goes on encoding the pictures that are left.")
    return parts[0], parts[1]


def _made_of(model: Model, size: tuple[int, int], mixed: float, parts: Sequence[Encoded]) -> dict[str, Any]:
    # Of the autoencoder only the encoder: later stages train the decoder.
    prompts = "\n".join(prompt for part in parts for prompt in part.prompts)
    return {
        "encoder": digest_of([model.vae.encoder]),
        "prompts": hashlib.sha256(prompts.encode()).hexdigest()[:16],
        "size": list(size),
        "mixed": mixed,
        "colours": ColourEncoder(model.vae).band,
    }


def _row(
    model: Model, data: Examples, meaning: Meaning, index: int, seed: tuple[int, int], blend: float
) -> dict[str, Tensor]:
    rng = np.random.default_rng(seed)  # both of a pair share it
    channels, height, width = model.latent_shape(*meaning.size)
    band = torch.from_numpy(rng.standard_normal((channels, height // BAND, width // BAND), dtype=np.float32))
    drawn = data.example(index, meaning.colours(band), blend)
    device = next(model.vae.parameters()).device
    small = np.zeros((height * FACTOR // BAND, width * FACTOR // BAND, 3), np.uint8)
    seen = tensor_of(small if drawn.colours is None else drawn.colours)[None]
    with torch.no_grad():
        colours = ColourEncoder(model.vae)(seen.to(device))[0].half().cpu()
    return {
        "latents": model.encode(tensor_of(drawn.picture)[None].to(device))[0].half().cpu(),
        "bands": band.half(),
        "colours": colours,
        "pictures": torch.from_numpy(drawn.picture),
        "maps": torch.from_numpy(drawn.map),
        "scales": torch.tensor(float(drawn.strength)),
        "blends": torch.tensor(blend),
        "cameras": torch.tensor(drawn.colours is not None),
    }


def _with_maps(data: Any) -> Examples:
    if not data.has_examples:
        raise TrainingError(
            "This recipe's stages learn from pictures with their maps and colours; only `drawn` has those."
        )
    examples: Examples = data
    return examples


def _window(sides: Sequence[int], crop: int, rng: np.random.Generator) -> tuple[int, int, tuple[int, int]]:
    """Top, left and (height, width) of a random square, at whole cells of the low band."""
    height, width = sides
    if not crop or crop >= min(height, width):
        return 0, 0, (height, width)
    top, left = (BAND * int(rng.integers((side - crop) // BAND + 1)) for side in (height, width))
    return top, left, (crop, crop)
