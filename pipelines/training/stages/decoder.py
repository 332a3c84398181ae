"""Stage ``decoder``: a small decoder, and an encoder beside it, that do what the teacher's do (SDXS, arXiv 2403.16627).

    L = ‖G(z)↓8 − x̃↓8‖₁ + λ · GAN(G(z), x̃)

z are latents that the teacher itself sampled, x̃ its decode of them; no perceptual loss; ↓8 is the mean of each 8×8
pixels, so that what lies within a latent's own patch is left to the game. The encoder, which the paper has no use for,
learns ‖E(x̃) − z‖² in a turn of its own: editing and ``init_strength`` start from pictures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderTiny
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pipelines.locate import locate
from pipelines.training.data.decoded import Pairs, Squares, with_encoder_of
from pipelines.training.data.encoded import ensure_encoded
from pipelines.training.data.order import index_at
from pipelines.training.data.samples import ensure_samples
from pipelines.training.dice import Dice
from pipelines.training.discriminators import PatchDiscriminator
from pipelines.training.losses.adversarial import frozen, game, generator_loss
from pipelines.training.losses.slopes import slope_l1
from pipelines.training.model import FACTOR, Model
from pipelines.training.phase import Batch, Phase, Plan, Weights
from pipelines.training.run import Run, write_model
from pipelines.training.stages.teacher import autoencoder_of
from pipelines.training.tiles import tiles

SHOWN, LOOKED_AT = 8, 16


@dataclass(frozen=True, kw_only=True)
class DecoderPlan:
    """Of the student, an ``AutoencoderTiny`` (convolutions alone: no norm, no attention): ``channels`` and ``blocks``
    of the decoder's four resolutions from the latents' up, ``encoder_channels`` and ``encoder_blocks`` of the encoder's
    from the picture's down. The defaults are TAESD's layout, the paper's 1.2 M decoder.

    ``adversarial``: the paper's λ, in force after ``adversarial_from`` of the steps; the discriminator's first
    convolution is ``critic_channels`` wide, ``critic_rate`` is a factor on the learning rate, ``conditioned`` shows it
    the latents too, ``r1`` is γ and ``r1_sigma`` its σ. Not the paper's: ``pixels``, the weight of an L1 at full size,
    and ``slopes``, of that of the gradients;
    ``encoded``: z are the recipe's ``encoded`` pictures, in squares of ``crop`` latents (0: whole), the encoder stays
    the teacher's, whose activation the decoder takes too, and nothing of the teacher but its autoencoder is needed.
    """

    plan: Plan
    channels: int = 64
    blocks: tuple[int, int, int, int] = (3, 3, 3, 1)
    encoder_channels: int = 64
    encoder_blocks: tuple[int, int, int, int] = (1, 3, 3, 3)
    adversarial: float = 0.03
    adversarial_from: float = 0.5
    critic_channels: int = 64
    critic_rate: float = 1.0
    conditioned: bool = True
    r1: float = 1.0
    r1_sigma: float = 0.05
    pixels: float = 0.0
    slopes: float = 0.0
    encoded: bool = False
    crop: int = 0


def phases(run: Run, *, device: torch.device) -> Iterator[Phase]:
    """The one phase of this stage. Raises what finding and loading the teacher raises."""
    if run.recipe.decoder.encoded:
        yield _from_encoded(run, device)
        return
    base = locate(run.teacher_of("decoder")).directory
    teacher = Model.load(base)
    train, held_out = ensure_samples(run, teacher, device=device)
    yield DecoderPhase(run.recipe.decoder, base, int(teacher.vae.config.latent_channels), train, held_out)


def _from_encoded(run: Run, device: torch.device) -> Phase:
    settings, base = run.recipe.decoder, autoencoder_of(run)
    teacher = Model.load(base)
    train, held_out = ensure_encoded(run, teacher, device=device)
    factor = float(teacher.vae.config.scaling_factor)
    parts = [Squares(part, settings.crop, settings.plan.seed, factor) for part in (train, held_out)]
    kept = with_encoder_of(teacher.vae, settings.channels, settings.blocks)
    return DecoderPhase(settings, base, int(teacher.vae.config.latent_channels), parts[0], parts[1], kept=kept)


class DecoderPhase:
    """``base``: the teacher's model directory; ``train`` and ``held_out``: latents and pictures, as ``data.samples``
    has them; ``kept``: an autoencoder whose encoder is finished already."""

    name = "decoder"

    def __init__(
        self,
        settings: DecoderPlan,
        base: Path,
        latent_channels: int,
        train: Pairs,
        held_out: Pairs,
        *,
        kept: Any = None,
    ) -> None:
        self.plan, self._settings, self._base = settings.plan, settings, base
        self._train, self._held_out = train, held_out
        torch.manual_seed(settings.plan.seed)
        self._vae = kept or _student(settings, latent_channels)
        shown = latent_channels if settings.conditioned else 0
        self._critic = PatchDiscriminator(settings.critic_channels, shown)
        decoder, encoder = self._vae.decoder, self._vae.encoder
        self.averaged: Mapping[str, nn.Module] = {"decoder": decoder, "encoder": encoder}
        self.rates = {"discriminator": settings.critic_rate}
        self.players: dict[str, nn.Module] = {
            "decoder": DecoderPlayer(decoder, self._critic, settings),
        }
        if kept is None:
            self.players["encoder"] = EncoderPlayer(encoder)
        if settings.adversarial:
            self.players["discriminator"] = DiscriminatorPlayer(self._critic, decoder, settings)

    def to(self, device: Any) -> None:
        self._vae.to(device)
        self._critic.to(device)

    def fetch(self, position: int) -> Mapping[str, Any]:
        sample = self._train[index_at(position, len(self._train), self.plan.seed)]
        return {"latents": sample["latents"], "picture": sample["picture"]}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """``picture_l1``: between the student's and the teacher's pictures in [−1, 1] at full size; ``coarse_l1``:
        the same of means of 8×8 pixels; ``latent_l1``: between the encoder's and the true latents."""
        sums = torch.zeros(3, dtype=torch.float64)
        for start in range(0, len(self._held_out), LOOKED_AT):
            latents, target = self._look(start, LOOKED_AT)
            picture, encoded = self._vae.decoder(latents), _encode(self._vae.encoder, target)
            found = [functional.l1_loss(picture, target), coarse_l1(picture, target)]
            found.append(functional.l1_loss(encoded, latents))
            sums += len(latents) * torch.stack(found).double().cpu()
        picture_l1, coarse, latent = (sums / len(self._held_out)).tolist()
        return {"picture_l1": picture_l1, "coarse_l1": coarse, "latent_l1": latent}

    @torch.no_grad()
    def picture(self) -> NDArray[np.uint8]:
        """The teacher's pictures above the student's."""
        latents, target = self._look(0, SHOWN)
        return tiles([target, self._vae.decoder(latents)])

    def export(self, folder: Path, weights: Mapping[str, Weights]) -> None:
        state = {f"{part}.{name}": value for part, named in weights.items() for name, value in named.items()}
        write_model(self._base, folder, {"vae": (self._vae, state)})

    def _look(self, start: int, count: int) -> tuple[Tensor, Tensor]:
        device = next(self._vae.parameters()).device
        samples = [self._held_out[i] for i in range(start, min(start + count, len(self._held_out)))]
        latents = torch.stack([each["latents"] for each in samples])
        return latents.to(device), torch.stack([each["picture"] for each in samples]).to(device)


class DecoderPlayer(nn.Module):
    """G: ‖G(z)↓8 − x̃↓8‖₁ + λ·softplus(−D(G(z)))."""

    def __init__(self, decoder: nn.Module, critic: nn.Module, settings: DecoderPlan) -> None:
        super().__init__()
        self.decoder, self._settings = decoder, settings
        self._critic = (critic,)  # a tuple isn't registered

    def forward(self, batch: Batch, dice: Dice) -> dict[str, Tensor]:
        picture, target = self.decoder(batch["latents"]), batch["picture"]
        coarse = coarse_l1(picture, target)
        found, loss = {"coarse": coarse}, coarse
        if self._settings.pixels:
            found["pixels"] = functional.l1_loss(picture, target)
            loss = loss + self._settings.pixels * found["pixels"]
        if self._settings.slopes:
            found["slopes"] = slope_l1(picture, target)
            loss = loss + self._settings.slopes * found["slopes"]
        if plays(self._settings, dice.step):
            found["adversarial"] = generator_loss(frozen(self._critic[0], picture, batch["latents"]))
            loss = loss + self._settings.adversarial * found["adversarial"]
        return {"loss": loss, **found}


class DiscriminatorPlayer(nn.Module):
    """D, on the teacher's and the student's picture of the same latents."""

    def __init__(self, critic: nn.Module, decoder: nn.Module, settings: DecoderPlan) -> None:
        super().__init__()
        self.critic, self._settings = critic, settings
        self._decoder = (decoder,)

    def forward(self, batch: Batch, dice: Dice) -> dict[str, Tensor]:
        latents, real, sigma = batch["latents"], batch["picture"], self._settings.r1_sigma
        if not plays(self._settings, dice.step):
            return {"loss": latents.new_zeros(())}
        with torch.no_grad():
            fake = frozen(self._decoder[0], latents)
        shifted = real + sigma * dice.normal(*real.shape[1:])
        answers = self.critic(torch.cat([real, fake, shifted]), torch.cat([latents] * 3))
        return game(*answers.chunk(3), gamma=self._settings.r1, sigma=sigma)


class EncoderPlayer(nn.Module):
    """E: ‖E(x̃) − z‖²."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, batch: Batch, dice: Dice) -> dict[str, Tensor]:
        return {"loss": functional.mse_loss(_encode(self.encoder, batch["picture"]), batch["latents"])}


def coarse_l1(picture: Tensor, target: Tensor) -> Tensor:
    """‖x↓8 − y↓8‖₁, a mean over samples, channels and places."""
    return functional.l1_loss(functional.avg_pool2d(picture, FACTOR), functional.avg_pool2d(target, FACTOR))


def plays(settings: DecoderPlan, step: int) -> bool:
    """Whether the game is on at that step."""
    return settings.adversarial > 0 and step >= settings.adversarial_from * settings.plan.steps


def _student(settings: DecoderPlan, latent_channels: int) -> Any:
    vae = AutoencoderTiny(
        latent_channels=latent_channels,
        encoder_block_out_channels=(settings.encoder_channels,) * 4,
        decoder_block_out_channels=(settings.channels,) * 4,
        num_encoder_blocks=settings.encoder_blocks,
        num_decoder_blocks=settings.blocks,
    )
    if settings.plan.gradient_checkpointing:
        vae.enable_gradient_checkpointing()
    return vae


def _encode(encoder: Any, pictures: Tensor) -> Tensor:
    # Its own forward forgets to bring pictures to [0, 1] when it keeps no activations.
    latents: Tensor = encoder.layers(pictures.add(1).div(2))
    return latents
