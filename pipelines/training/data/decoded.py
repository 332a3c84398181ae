"""Encoded pictures beside their latents, and a decoder to learn from them: no teacher's samples are needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from diffusers import AutoencoderTiny

from pipelines.subpixel import AutoencoderSubpixel
from pipelines.training.data.encoded import Encoded


class Pairs(Protocol):
    """``latents`` C×h×w and ``picture`` 3×H×W in [−1, 1], by index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Mapping[str, Any]: ...


class Squares:
    """Of each encoded picture a square of ``crop`` latents (0: all of it), always the same; the latents as the encoder
    gives them, before they are scaled by ``factor``."""

    def __init__(self, encoded: Encoded, crop: int, seed: int, factor: float) -> None:
        self._encoded, self._crop, self._seed, self._factor = encoded, crop, seed, factor

    def __len__(self) -> int:
        return len(self._encoded)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(f"{index} of {len(self)}")
        found = self._encoded.picture(index, seed=self._seed, crop=self._crop)
        return {**found, "latents": found["latents"] / self._factor}


def with_encoder_of(vae: Any, channels: int, blocks: tuple[int, ...]) -> Any:
    """An autoencoder of the class, and with the encoder, of another, and a decoder of its own ``channels`` and
    ``blocks`` from the latents' resolution up: the other's where it is of the same layout."""
    own = _subpixel if isinstance(vae, AutoencoderSubpixel) else _tiny
    small = own(vae, channels, blocks)
    small.encoder.load_state_dict(vae.encoder.state_dict())
    theirs, ours = vae.decoder.state_dict(), small.decoder.state_dict()
    if {name: value.shape for name, value in theirs.items()} == {name: value.shape for name, value in ours.items()}:
        small.decoder.load_state_dict(theirs)
    return small


def _tiny(vae: Any, channels: int, blocks: tuple[int, ...]) -> Any:
    wanted = ("latent_channels", "encoder_block_out_channels", "num_encoder_blocks", "act_fn", "scaling_factor")
    config = {name: vae.config[name] for name in wanted}
    return AutoencoderTiny(**config, decoder_block_out_channels=(channels,) * 4, num_decoder_blocks=blocks)


def _subpixel(vae: Any, channels: int, blocks: tuple[int, ...]) -> Any:
    config = {name: vae.config[name] for name in ("latent_channels", "half_channels", "scaling_factor")}
    return AutoencoderSubpixel(**config, channels=channels, blocks=blocks[0], half_blocks=blocks[2])
