"""A painter of known cost, to see what the loop itself does anywhere: ``simulated:4ms`` or ``simulated:3ms+1ms``."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

import torch

from pipelines.frame_graph import Form
from pipelines.presets import Control, Preset
from pipelines.settings import Settings
from realtime.errors import BadInput

PREFIX = "simulated:"
_BATCHES = (1, 2, 4, 8, 16)


class SimulatedPainter:
    """Of the shape of ``pipelines.SDXSPipeline``. The pictures are the maps; what it costs, it sleeps.

    A batch of B takes ``first_ms`` and ``further_ms`` for each picture more, B being the size it is built for. While it
    sleeps the host's cores are free, as they are while a GPU works.
    """

    backend_name = "simulated"
    dtype = torch.float32
    forms: Sequence[Form] = ("rgb",)
    controls = ("canny",)
    loras: tuple[str, ...] = ()
    album = None
    batches = _BATCHES

    def __init__(self, *, first_ms: float, further_ms: float, side: int = 256) -> None:
        self.name = f"{PREFIX}{first_ms:g}ms+{further_ms:g}ms"
        self.size = (side, side)
        self.sizes = (self.size,)
        self.device = torch.device("cpu")
        self.preset = Preset(name=self.name, size=self.size, controls=(Control(kind="canny"),))
        self._first, self._further = first_ms / 1000, further_ms / 1000

    def prepare(self, settings: Settings) -> None:
        """There is nothing to prepare."""

    def paint_uint8(
        self,
        maps: torch.Tensor,
        settings: Sequence[Settings],
        colours: torch.Tensor | None = None,
        *,
        form: Form = "rgb",
    ) -> torch.Tensor:
        built = next(size for size in self.batches if size >= len(settings))
        time.sleep(self._first + (built - 1) * self._further)
        plane = maps[:, 0] if maps.shape[1] else torch.zeros(len(settings), *self.size, dtype=torch.uint8)
        return plane[..., None].expand(-1, -1, -1, 3)


def simulated(description: str) -> SimulatedPainter:
    """``simulated:4ms``: each picture takes that, company saves nothing. ``simulated:3ms+1ms``: the first, and further.

    Raises BadInput for anything else.
    """
    match = re.fullmatch(rf"{PREFIX}(\d+(?:\.\d+)?)ms(?:\+(\d+(?:\.\d+)?)ms)?", description)
    if not match or float(match[1]) == 0:
        raise BadInput(f"--painter {description!r} is no painter; write {PREFIX}4ms or {PREFIX}3ms+1ms.")
    first = float(match[1])
    return SimulatedPainter(first_ms=first, further_ms=first if match[2] is None else float(match[2]))
