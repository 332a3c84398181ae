"""CLIP score: how well pictures show what their prompts say (CLIPScore, arXiv 2104.08718). Higher is better.

100 · max(cos(picture, prompt), 0), the mean over the pairs: 0 to 100, in practice 20 to 35 for CLIP ViT-B and ViT-L.
Values of different CLIP models don't compare; the paper's (SDXS-512: 32.81) are of ViT-g/14.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipelines.errors import TrainingError
from pipelines.training.evaluation.features import batches
from pipelines.training.evaluation.score import Score

Picture = NDArray[np.uint8]
EXAMPLE = "openai/clip-vit-large-patch14"
_FILES = "config.json, preprocessor_config.json, model.safetensors and the tokenizer"


class ClipScore:
    """A CLIP model from a directory, or from a repository where the hub can be reached."""

    def __init__(self, where: str | Path, *, device: torch.device) -> None:
        """Raises TrainingError that says what to put where."""
        if not where:
            raise TrainingError(f"The CLIP score needs a CLIP model: name one with --clip-model, such as {EXAMPLE}.")
        self.name = str(where)
        self._device = device
        self._network, self._processor = _open(where)
        self._network.to(device)

    def __call__(self, pictures: Sequence[Picture], prompts: Sequence[str]) -> list[float]:
        """The score of each pair; pictures uint8 H×W×3 RGB."""
        if len(pictures) != len(prompts) or not pictures:
            raise TrainingError(f"A CLIP score needs a prompt a picture, not {len(prompts)} for {len(pictures)}.")
        seen = torch.cat([self._see(batch) for batch in batches(pictures)])
        read = torch.cat([self._read(prompts[start : start + 32]) for start in range(0, len(prompts), 32)])
        cosines = torch.nn.functional.cosine_similarity(seen.double(), read.double())
        return [float(each) for each in 100 * cosines.clamp(min=0)]

    @torch.no_grad()
    def _see(self, batch: Tensor) -> Tensor:
        shown = self._processor(images=list(batch), return_tensors="pt").to(self._device)
        return _vector(self._network.get_image_features(pixel_values=shown["pixel_values"]))

    @torch.no_grad()
    def _read(self, prompts: Sequence[str]) -> Tensor:
        words = self._processor(text=list(prompts), return_tensors="pt", padding=True, truncation=True)
        words = words.to(self._device)
        return _vector(self._network.get_text_features(words["input_ids"], attention_mask=words["attention_mask"]))


def clip_score(found: Sequence[float], *, model: str) -> Score:
    """As a line of the table, with the spread over the pairs."""
    about = f"{model}, {len(found)} pairs"
    return Score(metric="clip", value=float(np.mean(found)), spread=float(np.std(found)), better="higher", about=about)


def _vector(output: Any) -> Tensor:
    """transformers 5 wraps what its older versions gave as it is."""
    vector: Tensor = output if isinstance(output, Tensor) else output.pooler_output
    return vector


def _open(where: str | Path) -> tuple[Any, Any]:
    from transformers import CLIPModel, CLIPProcessor

    local = Path(where).expanduser().is_dir()
    try:
        network = CLIPModel.from_pretrained(where, local_files_only=local, use_safetensors=True)
        processor = CLIPProcessor.from_pretrained(where, local_files_only=local)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).split("\n", 1)[0].rstrip(".")
        raise TrainingError(
            f"The CLIP score needs a CLIP model, and {where} gave none ({reason}): put {_FILES} of {EXAMPLE} into a "
            "directory and give it as --clip-model DIR."
        ) from None
    return network.eval().requires_grad_(False), processor
