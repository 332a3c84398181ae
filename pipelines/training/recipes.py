"""Recipes: everything that decides what a training run gives, as frozen dataclasses."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.training.loop import Schedule


@dataclass(frozen=True, kw_only=True)
class OneStepPlan:
    """How the painter trains: crops of ``crop`` pixels, ``batch`` a step and process, the first ``decoded`` of
    them also compared as pictures; the weights of the losses (``losses``); whether the decoder trains along."""

    schedule: Schedule
    crop: int
    batch: int
    decoded: int
    latent_weight: float = 0.1
    edge_weight: float = 1.0
    sharp: float = 0.0
    colour_weight: float = 1.0
    train_decoder: bool = False


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One model and its training. Widths in channels, crops in pixels."""

    name: str
    canvases: int
    latent_channels: int
    decoder_channels: int
    encoder_blocks: tuple[int, ...]
    decoder_blocks: tuple[int, ...]
    unet_channels: tuple[int, ...]
    control_channels: tuple[int, ...]
    text_width: int
    text_layers: int
    vocabulary: int
    autoencoder_crop: int
    autoencoder_batch: int
    autoencoder: Schedule
    text_batch: int
    text: Schedule
    edges_crop: int
    edges_batch: int
    edges: Schedule
    one_step: OneStepPlan
    finetune: OneStepPlan


EMBEDDED = Recipe(
    name="embedded",
    canvases=8000,
    latent_channels=32,
    decoder_channels=32,
    encoder_blocks=(0, 1, 2, 2),
    decoder_blocks=(2, 2, 1, 0),  # none at full resolution: half of the decoder's time would go there
    unet_channels=(64, 80, 112),
    control_channels=(16, 16, 32, 64),
    text_width=64,
    text_layers=2,
    vocabulary=4096,
    autoencoder_crop=64,
    autoencoder_batch=16,
    autoencoder=Schedule(steps=2600, learning_rate=2e-3),
    text_batch=48,
    text=Schedule(steps=1200, learning_rate=2e-3),
    edges_crop=64,
    edges_batch=16,
    edges=Schedule(steps=1900, learning_rate=2e-3),
    one_step=OneStepPlan(
        schedule=Schedule(steps=7500, learning_rate=1.5e-3, warmup=200),
        crop=128,
        batch=6,
        decoded=6,
        latent_weight=0.1,
        train_decoder=True,
    ),
    finetune=OneStepPlan(
        schedule=Schedule(steps=2900, learning_rate=8e-4, seed=1, checkpoint_minutes=2),
        crop=192,
        batch=3,
        decoded=3,
        latent_weight=0.0,
        sharp=0.3,
        train_decoder=True,
    ),
)

DEBUG = Recipe(
    name="debug",
    canvases=24,
    latent_channels=4,
    decoder_channels=8,
    encoder_blocks=(0, 0, 0, 1),
    decoder_blocks=(1, 0, 0, 0),
    unet_channels=(16, 32, 32),
    control_channels=(8, 8, 16, 16),
    text_width=16,
    text_layers=1,
    vocabulary=1024,
    autoencoder_crop=32,
    autoencoder_batch=8,
    autoencoder=Schedule(steps=6, learning_rate=1e-3, warmup=2, log_every=2, workers=0),
    text_batch=8,
    text=Schedule(steps=6, learning_rate=1e-3, warmup=2, log_every=2, workers=0),
    edges_crop=32,
    edges_batch=4,
    edges=Schedule(steps=6, learning_rate=1e-3, warmup=2, log_every=2, workers=0),
    one_step=OneStepPlan(
        schedule=Schedule(steps=6, learning_rate=1e-3, warmup=2, log_every=2, workers=0), crop=64, batch=4, decoded=2
    ),
    finetune=OneStepPlan(
        schedule=Schedule(steps=2, learning_rate=1e-3, warmup=2, log_every=2, workers=0, seed=1),
        crop=64,
        batch=4,
        decoded=4,
        train_decoder=True,
    ),
)

RECIPES = {recipe.name: recipe for recipe in (EMBEDDED, DEBUG)}
