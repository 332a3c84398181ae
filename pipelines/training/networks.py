"""The networks of a recipe on the meta device, by the names that ``work`` calls them, and what each costs."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipelines import layout
from pipelines.errors import CheckpointError, TrainingError
from pipelines.parts import text_encoders
from pipelines.reading import read_json
from pipelines.training import fresh
from pipelines.training.cost import Cost, Way, cost_of
from pipelines.training.discriminators import FeatureHeads, PatchDiscriminator
from pipelines.training.features import encoder_features
from pipelines.training.low_rank import TrainedLora
from pipelines.training.model import FACTOR, Words
from pipelines.training.recipe import Recipe
from pipelines.training.recipes.teachers import LAYOUTS, Layout
from pipelines.training.removal import student_config
from pipelines.unet import Config

Ways = tuple[Way, ...]
_LOOK: Ways = ("look",)


class Networks:
    """Those of one recipe. ``teacher``: instead of the recipe's, as ``--teacher`` has it."""

    def __init__(self, recipe: Recipe, teacher: str = "") -> None:
        """Raises TrainingError for a teacher whose layout isn't known here."""
        self._recipe = recipe
        self.teacher = teacher_layout(recipe, teacher)
        self.latents = (int(self.teacher.unet.get("in_channels", 4)), *(side // FACTOR for side in recipe.size))

    @functools.cached_property
    def student(self) -> Config:
        """The student's U-Net."""
        return student_config(self.teacher.unet, self._recipe.removal)

    def cost(self, name: str, ways: Collection[Way] = _LOOK, crop: int = 0) -> Cost:
        """Of one sample, in the ``ways`` asked for, or of a square of ``crop`` latents of it; text encoders of a model
        together."""
        how, latents = tuple(sorted(ways)) or _LOOK, self.latents
        if crop:
            latents = (latents[0], *(min(crop, side) for side in latents[1:]))
        name = name.removesuffix(" (fake)")
        if name.endswith("text"):
            return _sum([_text(_key(config), self.teacher.tokens, how) for config in self.teacher.texts])
        if name.endswith("U-Net encoder"):
            return _unet(_key(self.teacher.unet), latents, self.teacher.tokens, how, encoder=True)
        if name.endswith("U-Net"):
            config = self.teacher.unet if name.startswith("teacher") else self.student
            return _unet(_key(config), latents, self.teacher.tokens, how)
        if name.endswith("ControlNet"):
            return _controlnet(_key(self._control(name)), latents, self.teacher.tokens, how)
        return self._other(name, how, latents)

    def _control(self, name: str) -> Config:
        teachers = self.teacher.controlnet
        if teachers is None:  # of the student's own encoder
            full = {
                key: value for key, value in self.student.items() if key not in ("up_block_types", "mid_block_type")
            }
            return {**full, "_class_name": "ControlNetModel"}
        return teachers if name.startswith("teacher") else student_config(teachers, self._recipe.removal)

    def _other(self, name: str, how: Ways, latents: tuple[int, ...]) -> Cost:
        recipe, channels = self._recipe, latents[0]
        if name == "encoder" and recipe.decoder.encoded:
            name = "teacher encoder"
        if name.startswith("teacher "):
            return _autoencoder(_key(self.teacher.vae), latents, name.endswith("encoder"), how)
        if name in ("decoder", "encoder"):
            plan = recipe.decoder
            tiny = _tiny(channels, plan.channels, plan.encoder_channels, plan.blocks, plan.encoder_blocks)
            return _autoencoder(_key(tiny), latents, name == "encoder", how)
        if name == "critic":
            shown = channels if recipe.decoder.conditioned else 0
            return _critic(recipe.decoder.critic_channels, shown, latents, how)
        if name == "heads":
            widths = tuple(self.teacher.unet.get("block_out_channels", (320, 640, 1280, 1280)))
            return _heads(widths, recipe.gan_finetune.critic_channels, latents, how)
        if name == "LoRA":
            return _lora(_key(self.student), recipe.gan_finetune.rank, recipe.gan_finetune.convolutions)
        raise TrainingError(f"There is no network {name!r} in a recipe.")


def teacher_layout(recipe: Recipe, teacher: str = "") -> Layout:
    """What the teacher is made of, without fetching it. Raises TrainingError where that isn't known here."""
    name = teacher or recipe.teacher
    if name in LAYOUTS:
        return LAYOUTS[name]
    if name:
        return _read(Path(name).expanduser(), name)
    if recipe.teacher_plan is None:
        raise TrainingError(f"The recipe {recipe.name} has neither a teacher nor a plan for one.")
    return _planned(recipe.teacher_plan.networks, recipe.size[0] // FACTOR)


def _read(directory: Path, name: str) -> Layout:
    if not directory.is_dir():
        known = ", ".join(LAYOUTS)
        raise TrainingError(f"What {name} is made of is not known without fetching it; known are {known}.")
    try:
        texts = tuple(read_json(directory / each / "config.json") for each in text_encoders(directory))
        control = directory / "controlnet" / "config.json"
        return Layout(
            unet=read_json(directory / "unet" / "config.json"),
            vae=read_json(directory / "vae" / "config.json"),
            texts=texts,
            controlnet=read_json(control) if control.is_file() else None,
            tokens=int(texts[0].get("max_position_embeddings", 77)),
        )
    except CheckpointError as error:
        raise TrainingError(f"{name} is no model directory: {error}") from None


def _planned(networks: fresh.Networks, latents: int) -> Layout:
    with torch.device("meta"):
        unet = fresh.unet(networks, latents)
        control = fresh.controlnet(networks, unet, 0.0)
    text = {
        "architectures": ["CLIPTextModel"],
        "vocab_size": networks.vocabulary,
        "hidden_size": networks.text_width,
        "intermediate_size": 4 * networks.text_width,
        "projection_dim": networks.text_width,
        "num_hidden_layers": networks.text_layers,
        "num_attention_heads": 4,
        "max_position_embeddings": networks.text_length,
        "bos_token_id": networks.vocabulary - 2,
        "eos_token_id": networks.vocabulary - 1,
    }
    width = networks.autoencoder_channels
    return Layout(
        unet={**unet.config, "_class_name": "UNet2DConditionModel"},
        vae=_tiny(networks.latent_channels, width, width, networks.decoder_blocks, networks.encoder_blocks)
        if not networks.subpixel
        else {"_class_name": "AutoencoderSubpixel", **fresh.subpixel_sizes(networks)},
        texts=(text,),
        controlnet={**control.config, "_class_name": "ControlNetModel"},
        tokens=networks.text_length,
    )


def _tiny(
    latents: int, decoder: int, encoder: int, decoder_blocks: tuple[int, ...], encoder_blocks: tuple[int, ...]
) -> Config:
    return {
        "_class_name": "AutoencoderTiny",
        "latent_channels": latents,
        "encoder_block_out_channels": (encoder,) * 4,
        "decoder_block_out_channels": (decoder,) * 4,
        "num_encoder_blocks": encoder_blocks,
        "num_decoder_blocks": decoder_blocks,
    }


def _key(config: Config) -> str:
    """Configurations are compared by what they say."""
    return json.dumps(
        {key: value for key, value in config.items() if key[0] != "_" or key == "_class_name"}, default=list
    )


@functools.cache
def _unet(config: str, latents: tuple[int, ...], tokens: int, how: Ways, encoder: bool = False) -> Cost:
    unet = _built(config)

    def call(module: Any, wanted: bool) -> Any:
        words, t = _words(unet, tokens), _meta(1)
        noisy = _meta(1, *latents, wanted=wanted)
        if encoder:
            return encoder_features(module, noisy, t, words)
        return module(noisy, t, words.tokens, added_cond_kwargs=words.added(noisy))

    return cost_of(unet, call, how)


@functools.cache
def _controlnet(config: str, latents: tuple[int, ...], tokens: int, how: Ways) -> Cost:
    net = _built(config)

    def call(module: Any, wanted: bool) -> Any:
        words = _words(net, tokens)
        noisy, maps = _meta(1, *latents, wanted=wanted), _meta(1, 3, *(FACTOR * side for side in latents[1:]))
        return module(noisy, _meta(1), words.tokens, maps, added_cond_kwargs=words.added(noisy))

    return cost_of(net, call, how)


@functools.cache
def _text(config: str, tokens: int, how: Ways) -> Cost:
    ids = torch.zeros(1, tokens, dtype=torch.int64, device="meta")
    return cost_of(_built(config), lambda module, wanted: module(ids), how)


@functools.cache
def _autoencoder(config: str, latents: tuple[int, ...], encoder: bool, how: Ways) -> Cost:
    vae = _built(config)
    half: nn.Module = vae.encoder if encoder else vae.decoder
    shape = (3, *(FACTOR * side for side in latents[1:])) if encoder else latents
    return cost_of(half, lambda module, wanted: module(_meta(1, *shape, wanted=wanted)), how)


@functools.cache
def _critic(channels: int, latent_channels: int, latents: tuple[int, ...], how: Ways) -> Cost:
    with torch.device("meta"):
        critic = PatchDiscriminator(channels, latent_channels)
    shape = (3, *(FACTOR * side for side in latents[1:]))

    def call(module: Any, wanted: bool) -> Any:  # its own forward asks for autocast, which the meta device has none of
        seen = _meta(1, *shape, wanted=wanted)
        for layer in module.descent:
            seen = functional.leaky_relu(layer(seen))
        shown = _meta(1, latent_channels, *latents[1:])
        return module.answer(functional.leaky_relu(module.joint(torch.cat([seen, shown], 1))))

    return cost_of(critic, call, how)


@functools.cache
def _heads(widths: tuple[int, ...], channels: int, latents: tuple[int, ...], how: Ways) -> Cost:
    with torch.device("meta"):
        heads = FeatureHeads(widths, channels)

    def call(module: Any, wanted: bool) -> Any:
        sides = [[max(side >> stage, 1) for side in latents[1:]] for stage in range(len(widths))]
        maps = [_meta(1, width, *side, wanted=wanted) for width, side in zip(widths, sides, strict=True)]
        return [head(each) for head, each in zip(module.heads, maps, strict=True)]

    return cost_of(heads, call, how)


@functools.cache
def _lora(config: str, rank: int, convolutions: bool) -> Cost:
    factors = TrainedLora(_built(config), rank, convolutions=convolutions).factors
    count = sum(parameter.numel() for parameter in factors.parameters())
    return Cost(parameters=count, flops=0)


def _built(config: str) -> Any:
    return layout.build(json.loads(config)).train()


def _words(network: Any, tokens: int) -> Words:
    config = network.config
    pooled = None
    if config.get("addition_embed_type") == "text_time":
        pooled = _meta(1, config["projection_class_embeddings_input_dim"] - 6 * config["addition_time_embed_dim"])
    return Words(tokens=_meta(1, tokens, int(config["cross_attention_dim"])), pooled=pooled)


def _meta(*shape: int, wanted: bool = False) -> Tensor:
    return torch.zeros(*shape, device="meta", requires_grad=wanted)


def _sum(costs: list[Cost]) -> Cost:
    names = Cost.__dataclass_fields__
    counts: dict[str, Callable[..., int]] = {name: sum if name != "block" else max for name in names}
    return Cost(**{name: counts[name](getattr(cost, name) for cost in costs) for name in names})
