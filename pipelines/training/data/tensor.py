"""Pictures as networks take them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def tensor_of(picture: NDArray[np.uint8]) -> Tensor:
    """uint8 H×W×3 to float32 3×H×W in [−1, 1]."""
    return torch.from_numpy(picture.copy()).permute(2, 0, 1).float() / 127.5 - 1
