"""The stages in their order, each starting from the averaged weights of the one before."""

from __future__ import annotations

from pathlib import Path

import torch

from pipelines.errors import PipelineError
from pipelines.training.autoencoder import AutoencoderStage, build
from pipelines.training.edge_stage import EdgeStage
from pipelines.training.export import export
from pipelines.training.loop import Trainer
from pipelines.training.one_step import OneStepStage, Painter, build_painter
from pipelines.training.recipes import Recipe
from pipelines.training.text_stage import TextStage

STAGES = ("autoencoder", "text", "edges", "one-step", "finetune")


class StageError(PipelineError):
    """A stage is unknown, or the one before it has not been trained."""


def train(stage: str, recipe: Recipe, data: Path, out: Path) -> list[float]:
    """Train one stage to its end, or go on where it was left; returns the losses of this call.

    Raises StageError for an unknown stage, a missing earlier one, or missing pictures.
    """
    if stage not in STAGES:
        raise StageError(f"There is no stage {stage!r}; the stages are {', '.join(STAGES)}.")
    if not (data / "canvases.npy").is_file():
        raise StageError(f"{data} holds no prepared pictures; run the command prepare first.")
    torch.manual_seed(0)
    return trainer(stage, recipe, data, out).run()


def trainer(stage: str, recipe: Recipe, data: Path, out: Path) -> Trainer:
    """The trainer of a stage, restored from its checkpoint where there is one."""
    if stage == "autoencoder":
        return Trainer(AutoencoderStage(recipe, data), recipe.autoencoder, out / stage)
    if stage == "text":
        painter = load_painter(recipe, out, "autoencoder")
        reader = TextStage(painter.text_encoder, painter.tokenizer, recipe.text_width, recipe.text_batch)
        return Trainer(reader, recipe.text, out / stage)
    painter = load_painter(recipe, out, STAGES[STAGES.index(stage) - 1])
    if stage == "edges":
        embedding, channels = painter.controlnet.controlnet_cond_embedding, recipe.unet_channels[0]
        drawer = EdgeStage(embedding, channels, data, crop=recipe.edges_crop, batch=recipe.edges_batch)
        return Trainer(drawer, recipe.edges, out / stage)
    plan = recipe.one_step if stage == "one-step" else recipe.finetune
    return Trainer(OneStepStage(recipe, plan, data, painter), plan.schedule, out / stage)


def load_painter(recipe: Recipe, out: Path, stage: str) -> Painter:
    """The painter as ``stage`` left it, averaged weights; what no stage has trained yet is fresh."""
    vae = build(recipe)
    vae.load_state_dict(_averaged(out / "autoencoder", "vae"))
    painter = build_painter(recipe, vae, out / "painter")
    if stage in ("text", "edges"):
        painter.text_encoder.load_state_dict(_averaged(out / "text", "text_encoder"))
    if stage == "edges":
        painter.controlnet.controlnet_cond_embedding.load_state_dict(_averaged(out / stage, "embedding"))
    if stage in ("one-step", "finetune"):
        for name in ("unet", "controlnet", "text_encoder"):
            getattr(painter, name).load_state_dict(_averaged(out / stage, name))
        vae.decoder.load_state_dict(_averaged(out / stage, "decoder"))
    return painter


def export_last(recipe: Recipe, out: Path, directory: Path) -> None:
    """Export the latest stage that has a checkpoint. Raises StageError where there is none."""
    trained = [stage for stage in STAGES[3:] if (out / stage / "state.pt").is_file()]
    if not trained:
        raise StageError(f"{out} holds no trained painter; run the command train first.")
    export(load_painter(recipe, out, trained[-1]), directory, name=recipe.name)


def _averaged(folder: Path, module: str) -> dict[str, torch.Tensor]:
    """One module's weights with the running average in the place of those that trained."""
    if not (folder / "state.pt").is_file():
        raise StageError(f"{folder} has no checkpoint; train the stage {folder.name} first.")
    state = torch.load(folder / "state.pt", weights_only=True)
    weights: dict[str, torch.Tensor] = {**state["modules"], **state["average"]}
    return {name.removeprefix(f"{module}."): value for name, value in weights.items() if name.startswith(f"{module}.")}
