"""Features of pictures, for FID and KID: from weights on this machine, nothing is fetched.

A file is torch-fidelity's Inception v3, the network of all published FIDs; a directory is a vision model of
transformers (CLIP, DINOv2, ...). ``evaluation.shapes`` has features of the drawn world.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipelines.detector_weights import read_state
from pipelines.errors import TrainingError

Picture = NDArray[np.uint8]
Features = NDArray[np.float64]
INCEPTION = "weights-inception-2015-12-05-6726825d.pth"
_WHERE = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/" + INCEPTION
_BATCH = 32


class Extractor(Protocol):
    """``name``: what the features are, in words."""

    name: str

    def __call__(self, pictures: Sequence[Picture]) -> Features:
        """Features N×D of uint8 H×W×3 RGB pictures."""


def open_extractor(where: str | Path | None, *, device: torch.device) -> Extractor:
    """The extractor behind a file or directory. Raises TrainingError that says what to put where."""
    if not where:
        raise TrainingError(
            f"FID and KID need a network's features: download {_WHERE} and give it as --features {INCEPTION}, or give "
            "the directory of a CLIP or DINOv2 model (config.json and model.safetensors)."
        )
    path = Path(where).expanduser()
    if path.is_dir():
        return VisionModel(path, device=device)
    if path.is_file():
        return Inception(path, device=device)
    raise TrainingError(f"--features {where} is neither a file nor a directory; Inception's file is at {_WHERE}.")


class Inception:
    """The 2048 pooled features of Inception v3 as torch-fidelity has it, bit for bit the original's resizing."""

    name = "Inception v3, 2048 features"

    def __init__(self, file: Path, *, device: torch.device) -> None:
        """Raises CheckpointError for a file that holds more than tensors."""
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        read_state(file)  # torch-fidelity unpickles whatever is there, so it is looked at first
        try:
            network = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=str(file))
        except RuntimeError:
            raise TrainingError(f"{file} holds no weights of torch-fidelity's Inception v3; fetch {_WHERE}.") from None
        self._network, self._device = network.to(device), device

    @torch.no_grad()
    def __call__(self, pictures: Sequence[Picture]) -> Features:
        found = [self._network(batch.to(self._device))[0] for batch in batches(pictures)]
        return torch.cat(found).double().cpu().numpy()


class VisionModel:
    """The pooled output of a transformers vision model, behind its own picture processor."""

    def __init__(self, directory: Path, *, device: torch.device) -> None:
        """Raises TrainingError where the directory holds none."""
        self._network, self._processor = open_vision(directory)
        self._network.to(device)
        self._device = device
        self.name = f"{type(self._network).__name__} in {directory.name}"

    @torch.no_grad()
    def __call__(self, pictures: Sequence[Picture]) -> Features:
        found = []
        for batch in batches(pictures):
            shown = self._processor(images=list(batch), return_tensors="pt")["pixel_values"].to(self._device)
            output = self._network(pixel_values=shown)
            found.append(output.pooler_output if output.pooler_output is not None else output.last_hidden_state.mean(1))
        return torch.cat(found).double().cpu().numpy()


def open_vision(directory: Path) -> tuple[Any, Any]:
    """A vision model (of a CLIP, its vision half) and its processor. Raises TrainingError."""
    from transformers import AutoConfig, AutoImageProcessor, AutoModel, CLIPVisionModel

    try:
        config = AutoConfig.from_pretrained(directory, local_files_only=True)
        kind = CLIPVisionModel if config.model_type in {"clip", "clip_vision_model"} else AutoModel
        network = kind.from_pretrained(directory, local_files_only=True, use_safetensors=True)
        processor = AutoImageProcessor.from_pretrained(directory, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).split("\n", 1)[0]
        raise TrainingError(
            f"{directory} holds no vision model of transformers (config.json, preprocessor_config.json and "
            f"model.safetensors): {reason}"
        ) from None
    return network.eval().requires_grad_(False), processor


def batches(pictures: Sequence[Picture], size: int = _BATCH) -> Iterator[Tensor]:
    """uint8 B×3×H×W, B at most ``size``."""
    for start in range(0, len(pictures), size):
        stacked = np.stack(pictures[start : start + size])
        yield torch.from_numpy(stacked).permute(0, 3, 1, 2).contiguous()
