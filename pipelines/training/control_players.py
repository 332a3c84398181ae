"""Who trains in the stage ``controlnet``: a small ControlNet on a frozen U-Net, in many steps and in one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pipelines.training.answers import latents_of, mean_square, teachers_answer, without_some
from pipelines.training.dice import Dice
from pipelines.training.features import distance, recorded, shared_blocks
from pipelines.training.losses.score_distillation import Network
from pipelines.training.model import Model, Words, predict
from pipelines.training.one_step_players import Distillation, Shown, StudentPlayer
from pipelines.training.phase import Batch


class ControlDistiller(nn.Module):
    """The teacher's ControlNet and U-Net into the small pair, of which only the ControlNet trains.

    Batches have ``latents`` (or ``picture``), ``prompt`` and ``map``. ``weight``: λ_F. ``guidance``: of the teacher's
    answers. ``drop_prompts``: the share of prompts left out.
    """

    def __init__(
        self, kind: str, student: Model, teacher: Model, *, weight: float, guidance: float, drop_prompts: float
    ) -> None:
        super().__init__()
        self.controlnet: nn.Module = student.controlnets[kind]
        self._kind, self._student, self._teacher = kind, student, teacher
        self._weight, self._guidance, self._drop_prompts = weight, guidance, drop_prompts
        self._blocks = shared_blocks(teacher.unet, student.unet, down=False)

    def forward(self, batch: Batch, dice: Dice) -> dict[str, Tensor]:
        t = dice.integers(0, self._teacher.diffusion.timesteps)
        prompts = without_some(batch["prompt"], dice, self._drop_prompts)
        output, features = (each.mean() for each in self.distances(batch, dice, t, prompts))
        return {"loss": output + self._weight * features, "output": output, "features": features}

    def distances(self, batch: Batch, dice: Dice, t: Tensor, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """‖ε̂_θ − ε̂_φ‖² and the sum over features, each B; without a ControlNet of the teacher ‖ε̂_θ − ε‖² and 0."""
        student, teacher, maps = self._student, self._teacher, batch["map"]
        latents = latents_of(teacher, batch)
        noise, words = dice.normal(*latents.shape[1:]), teacher.words(prompts)
        noisy = teacher.diffusion.add_noise(latents, noise, t)
        added = student.control(self._kind, noisy, t, words, maps)
        with recorded(student.unet, [name for _, name in self._blocks]) as found:
            output = predict(student.unet, noisy, t, words, added)
        if self._kind not in teacher.controlnets:
            apart = mean_square(output, teacher.diffusion.target(latents, noise, t))
            return apart, torch.zeros_like(apart)
        theirs = [name for name, _ in self._blocks]
        answer, features = teachers_answer(
            teacher, noisy, t, prompts, theirs, guidance=self._guidance, control=self._kind, maps=maps
        )
        return mean_square(output, answer), distance([found[name] for _, name in self._blocks], features)


class ControlledStudent(nn.Module):
    """The one-step student under a map: ``StudentPlayer`` with a share of the noise ``replaced`` by fresh noise.

    Map and target stay, so that what the noise would have told of them has to come from the map.
    """

    def __init__(self, shared: Distillation, *, replaced: float) -> None:
        super().__init__()
        self.player, self._shared, self._replaced = StudentPlayer(shared), shared, replaced

    def forward(self, batch: Batch, dice: Dice) -> dict[str, Tensor]:
        kept = (dice.uniform() >= self._replaced).view(-1, 1, 1, 1)
        noise = torch.where(kept, batch["noise"], dice.normal(*batch["noise"].shape[1:]))
        found: dict[str, Tensor] = self.player(
            {**batch, "latents": latents_of(self._shared.teacher, batch), "noise": noise}, dice
        )
        return found


class PlainScores(Distillation):
    """Of a teacher without a ControlNet of the kind: both scores see the prompt alone."""

    def network(self, model: Model, words: Words, shown: Shown | None) -> Network:
        """See ``Distillation``."""
        return super().network(model, words, None)
