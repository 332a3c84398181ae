"""A judge of the drawn world (``data.shapes``): whether pictures obey their prompts, and features for FID and KID.

A small convolutional classifier of colour, form and ground, trained here on drawn pictures, some noisy and blurred as a
model's are. The share of prompts obeyed is 0 to 1, higher is better; guessing gives about 1/8, 1/6 and 1/5.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import re
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pipelines.errors import TrainingError
from pipelines.training.data.shapes import COLOURS, FORMS, GROUNDS, Shapes
from pipelines.training.evaluation.features import Features, batches
from pipelines.training.evaluation.score import Score

Picture = NDArray[np.uint8]
SIDE = 64
#: What a caption says, in its order there, and what each may be.
PARTS = {"colour": tuple(COLOURS), "form": tuple(FORMS), "ground": GROUNDS}
_CAPTION = re.compile(r"an? (\w+) (\w+) on an? (\w+) ground")
#: The number of features.
WIDTH = 96
_PICTURES, _STEPS, _BATCH, _RATE = 2500, 500, 32, 3e-3


class ShapesJudge:
    """The trained classifier. A ``features.Extractor``."""

    name = "the shapes classifier, 96 features"

    def __init__(self, network: _Network) -> None:
        self._network = network.eval().requires_grad_(False)

    def __call__(self, pictures: Sequence[Picture]) -> Features:
        """Features N×96 of uint8 H×W×3 RGB pictures, each in its deviations over drawn pictures."""
        found = [self._network.features(batch) / self._network.spread for batch in batches(_sized(pictures))]
        return torch.cat(found).double().numpy()

    def obeyed(self, pictures: Sequence[Picture], prompts: Sequence[str]) -> dict[str, float]:
        """The share of prompts obeyed in ``colour``, ``form`` and ``ground``, and in ``all`` of them at once.

        Raises TrainingError for a prompt that is no caption of the drawn world.
        """
        wanted = np.array([read_caption(prompt) for prompt in prompts])
        answers = [torch.stack([each.argmax(1) for each in self._network(b)], 1) for b in batches(_sized(pictures))]
        right = torch.cat(answers).numpy() == wanted
        shares = {part: float(right[:, place].mean()) for place, part in enumerate(PARTS)}
        return {**shares, "all": float(right.all(1).mean())}


def open_judge(folder: Path | None = None, *, seed: int = 0) -> ShapesJudge:
    """The judge kept in ``folder``; trained first, in seconds, where it isn't there yet. The same each time."""
    file = folder / f"shapes-judge-{_version()}-{seed}.safetensors" if folder else None
    network = _Network()
    if file and file.is_file():
        network.load_state_dict(load_file(file))
        return ShapesJudge(network)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _train(_Network(), np.random.default_rng(seed))
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f"{file.name}.{os.getpid()}.part")
        save_file(network.state_dict(), partial)
        partial.replace(file)
    return ShapesJudge(network)


def _version() -> str:
    """Changes with this file and the world it judges, so that an old judge is not taken for today's."""
    sources = Path(inspect.getfile(Shapes)).read_bytes() + Path(__file__).read_bytes()
    return hashlib.sha256(sources).hexdigest()[:12]


def read_caption(prompt: str) -> tuple[int, int, int]:
    """Which colour, form and ground a caption names. Raises TrainingError."""
    match = _CAPTION.fullmatch(prompt.strip())
    if not match or any(word not in known for word, known in zip(match.groups(), PARTS.values(), strict=True)):
        raise TrainingError(f"{prompt!r} is no caption of the drawn world, such as 'a red circle on a blue ground'.")
    colour, form, ground = (known.index(word) for word, known in zip(match.groups(), PARTS.values(), strict=True))
    return colour, form, ground


def obeyed_scores(shares: dict[str, float], *, about: str) -> list[Score]:
    """As lines of the table."""
    return [Score(metric=f"obeyed-{part}", value=share, better="higher", about=about) for part, share in shares.items()]


class _Network(nn.Module):
    spread: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(3, 24, 5, stride=4, padding=2), nn.GroupNorm(4, 24), nn.SiLU()),
            *(nn.Conv2d(24, 48, 3, stride=2, padding=1), nn.GroupNorm(4, 48), nn.SiLU()),
            *(nn.Flatten(), nn.Linear(48 * (SIDE // 8) ** 2, WIDTH), nn.SiLU()),
        )
        self.register_buffer("spread", torch.ones(WIDTH))
        self.heads = nn.ModuleList(nn.Linear(WIDTH, len(names)) for names in PARTS.values())

    def features(self, pictures: Tensor) -> Tensor:
        """B×96 of uint8 B×3×64×64."""
        found: Tensor = self.body(pictures.float() / 127.5 - 1)
        return found

    def forward(self, pictures: Tensor) -> list[Tensor]:
        features = self.features(pictures)
        return [head(features) for head in self.heads]


def _train(network: _Network, rng: np.random.Generator) -> _Network:
    world = Shapes((SIDE, SIDE))
    chosen = rng.permutation(len(world.prompts))[:_PICTURES]
    drawn = [world.read(int(index)) for index in chosen]
    answers = torch.tensor([read_caption(world.prompts[index]) for index in chosen])
    optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=_STEPS)
    for _ in range(_STEPS):
        picked = rng.integers(0, len(drawn), _BATCH)
        (batch,) = batches([_worn(drawn[index], rng) for index in picked], _BATCH)
        outputs = zip(network(batch), answers[torch.from_numpy(picked)].unbind(1), strict=True)
        loss = sum((nn.functional.cross_entropy(output, wanted) for output, wanted in outputs), torch.zeros(()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        network.spread = torch.cat([network.features(batch) for batch in batches(drawn)]).std(0).clamp(min=1e-3)
    return network


def _worn(picture: Picture, rng: np.random.Generator) -> Picture:
    """As a model might paint it: every other one a little blurred, off in colour, or noisy."""
    if rng.random() < 0.5:
        return picture
    soft = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.3, 2.0)).astype(np.float32)
    soft += rng.normal(0, 8, 3) + rng.normal(0, rng.uniform(1, 12), picture.shape)
    return np.rint(soft).clip(0, 255).astype(np.uint8)


def _sized(pictures: Sequence[Picture]) -> list[Picture]:
    area = cv2.INTER_AREA
    return [p if p.shape[:2] == (SIDE, SIDE) else cv2.resize(p, (SIDE, SIDE), interpolation=area) for p in pictures]
