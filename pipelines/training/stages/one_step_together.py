"""One step under a map, learnt from the recipe's ``encoded`` pictures: by U-Net and ControlNet together, or by the
ControlNet alone.

The losses are those of ``one_step_players``; the pairs of noise and picture are not the teacher's samples but the
data's own, whose noise is coupled with them (see ``data.encoded``): what a step from that noise can't know is little.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipelines.training.answers import mean_square, together
from pipelines.training.control_error import control_error
from pipelines.training.data.encoded import Encoded
from pipelines.training.one_step_players import Distillation, Distilling, FakePlayer, StudentPlayer, shown_by
from pipelines.training.phase import Batch, Plan, Weights
from pipelines.training.run import write_model
from pipelines.training.tiles import tiles

#: Held-out samples: shown, looked at for the validation numbers, and that at once.
SHOWN, HELD_OUT, LOOKED_AT = 8, 64, 8


@dataclass(frozen=True, kw_only=True)
class PairPart:
    """A phase of U-Net and ControlNet at once, by ``method``, in squares of ``crop`` latents (0: whole pictures).

    ``depths``: the share of samples, beside those that come up, whose map is a depth; ``between``: of those that lie
    between two styles.
    """

    name: str
    plan: Plan
    method: Distilling
    crop: int = 0
    depths: float = 0.0
    between: float = 0.0


class OneStepTogetherPhase:
    """``base``: the model directory that what trains of ``shared`` enters."""

    def __init__(
        self, name: str, part: PairPart, shared: Distillation, base: Path, train: Encoded, held_out: Encoded
    ) -> None:
        self.name, self.plan, self._part, self._base = name, part.plan, part, base
        self._shared, self._train, self._held_out = shared, train, held_out
        self.rates = {"fake": shared.settings.fake_rate}
        self.players: dict[str, nn.Module] = {"student": StudentPlayer(shared)}
        if shared.settings.warmup < 1:
            self.players["fake"] = FakePlayer(shared)
        self.averaged: dict[str, nn.Module] = {"controlnet": shared.student.controlnets[shared.control]}
        if shared.together:
            self.averaged["unet"] = shared.student.unet
        if shared.together and part.method.reads:
            self.averaged["text_encoder"] = shared.student.text_encoders[0]
        if shared.together and part.method.pixels:
            self.averaged["decoder"] = shared.student.vae.decoder

    def to(self, device: Any) -> None:
        self._shared.to(device)

    def fetch(self, position: int) -> Mapping[str, Any]:
        part = self._part
        return self._train.at(
            position,
            seed=self.plan.seed,
            crop=part.crop,
            depths=part.depths,
            between=part.between,
            pictures=part.method.pixels > 0,
        )

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """``mean_square``: of the latents of held-out pictures; ``control_error``: see there, of those with a map."""
        maps: list[NDArray[np.float32]] = []
        pictures: list[NDArray[np.uint8]] = []
        squares: list[float] = []
        count = min(HELD_OUT, len(self._held_out))
        for start in range(0, count, LOOKED_AT):
            batch = self._look(range(start, min(start + LOOKED_AT, count)))
            painted = self._paint(batch)
            squares += mean_square(painted, batch["latents"]).tolist()
            for drawn, scale, picture in zip(batch["map"], batch["scale"], self._pictures(painted), strict=True):
                if float(scale) >= 0.8:
                    maps.append(drawn.cpu().numpy())
                    pictures.append(picture)
        found = {"mean_square": float(np.mean(squares))}
        return found | ({"control_error": control_error("canny", maps, pictures)} if len(maps) > 1 else {})

    @torch.no_grad()
    def picture(self) -> NDArray[np.uint8]:
        """Held-out pictures, their maps, and what is painted from maps, words and their noise."""
        step = max(1, len(self._held_out) // SHOWN)
        batch = self._look(range(0, len(self._held_out), step)[:SHOWN])
        decode = self._shared.student.decode
        return tiles([decode(batch["latents"]), 2 * batch["map"] - 1, decode(self._paint(batch))])

    def export(self, folder: Path, weights: Mapping[str, Weights]) -> None:
        parts: dict[str, tuple[Any, Weights]] = {
            name: (self.averaged[name], weights[name]) for name in self.averaged if name != "decoder"
        }
        if "decoder" in weights:
            vae = self._shared.student.vae
            kept = {name: value.cpu() for name, value in vae.state_dict().items() if not name.startswith("decoder.")}
            learnt = {f"decoder.{name}": value for name, value in weights["decoder"].items()}
            parts["vae"] = (vae, {**kept, **learnt})
        write_model(self._base, folder, parts)

    def _paint(self, batch: Batch) -> Tensor:
        return self._shared.paint(batch["noise"], self._shared.own_words(batch), shown_by(batch))

    def _pictures(self, latents: Tensor) -> list[NDArray[np.uint8]]:
        shown = self._shared.student.decode(latents).clamp(-1, 1).add(1).mul(127.5).round().byte()
        return list(shown.permute(0, 2, 3, 1).cpu().numpy())

    def _look(self, places: Sequence[int]) -> dict[str, Any]:
        device = next(self._shared.student.unet.parameters()).device
        return together([self._held_out[place] for place in places], device)
