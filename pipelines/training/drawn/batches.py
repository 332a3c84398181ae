"""Training samples drawn afresh each step: edges, noise, caption and the target they determine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipelines.training.drawn import captions
from pipelines.training.drawn.canvases import random_crop, webcam_edges
from pipelines.training.drawn.scene import Scene
from pipelines.training.drawn.styles import STYLES, draw


@dataclass(frozen=True, kw_only=True)
class Batch:
    """``edges`` B×3×H×W in [0,1], white on black · ``noise`` B×C×H/8×W/8 · ``strength`` B in [0,1] · ``target``
    B×3×H×W in [−1,1] · ``captions`` B."""

    edges: Tensor
    noise: Tensor
    strength: Tensor
    target: Tensor
    captions: list[str]


def open_canvases(folder: Path) -> NDArray[np.uint8]:
    """The prepared canvases (see ``data``), mapped, not read."""
    return np.load(folder / "canvases.npy", mmap_mode="r")


def sample(
    canvases: NDArray[np.uint8],
    count: int,
    size: int,
    latent_channels: int,
    rng: np.random.Generator,
    weak: float = 0.12,
) -> Batch:
    """``count`` samples of ``size``×``size`` pixels; a share ``weak`` of them at a strength below 1."""
    names = list(STYLES)
    order = rng.permutation(len(names))  # every batch shows as many styles as it can
    edges, noises, targets, strengths, texts = [], [], [], [], []
    for index in range(count):
        style = names[order[index % len(names)]]
        edge = edges_of_crop(canvases, size, rng)
        noise = rng.standard_normal((latent_channels, size // 8, size // 8), dtype=np.float32)
        text, tint = captions.caption(style, rng)
        strength = float(rng.choice([0.0, rng.random()])) if rng.random() < weak else 1.0
        targets.append(draw(Scene(edge, noise, tint), style, strength))
        edges.append(edge)
        noises.append(noise)
        strengths.append(strength)
        texts.append(text)
    maps = torch.from_numpy(np.stack(edges)).float()[:, None].div(255).expand(-1, 3, -1, -1)
    return Batch(
        edges=maps,
        noise=torch.from_numpy(np.stack(noises)),
        strength=torch.tensor(strengths),
        target=torch.from_numpy(np.stack(targets)).permute(0, 3, 1, 2).mul(2).sub(1),
        captions=texts,
    )


def edges_of_crop(canvases: NDArray[np.uint8], size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The edge map of a random crop; nearly empty crops teach little, so most of them are drawn again."""
    for _ in range(4):
        crop = random_crop(canvases[rng.integers(len(canvases))], size, rng)
        edges = webcam_edges(crop, rng)
        if (edges > 0).mean() > 0.02:
            break
    return edges
