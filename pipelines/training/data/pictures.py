"""A data set's pictures where a stage would take the teacher's samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from pipelines.errors import TrainingError
from pipelines.training.data.dataset import Dataset, open_data

if TYPE_CHECKING:
    from pipelines.training.run import Run


class Pictures:
    """Samples of a data set, to be encoded by the teacher."""

    def __init__(self, data: Dataset) -> None:
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """``picture``: 3×H×W in [−1, 1]; ``prompt``."""
        picture, prompt = self._data.sample(index)
        return {"picture": torch.from_numpy(picture).permute(2, 0, 1).float() / 127.5 - 1, "prompt": prompt}


def open_pictures(run: Run) -> tuple[Pictures, Pictures]:
    """What a run is trained with and what is held out. Raises TrainingError for data that aren't there or have no
    pictures."""
    train, held_out = open_data(run.data or run.recipe.data, run.recipe.size)
    if not train.has_pictures:
        raise TrainingError(
            f"The recipe {run.recipe.name} learns from pictures, and the data are prompts alone: give a folder of "
            "pictures, or shards."
        )
    return Pictures(train), Pictures(held_out)
