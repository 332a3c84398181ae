"""Stage ``teacher``: a small diffusion model and its ControlNets from pictures with captions, with no download.

    autoencoder   L = |x̂ − x| + (x̂ − x)² + λ·E(x)²,  x̂ = D(E(x) + σ·n)
    diffusion     L = w(t)·‖ŷ(x_t, t, c) − y‖²,  y by prediction type (``diffusion``), c the caption or, sometimes, ""
    controlnet    the same with the map of the picture's own edges, lines or depth; the U-Net stays frozen

Latent diffusion (arXiv 2112.10752), DDPM (2006.11239), guidance (2207.12598), ControlNet (2302.05543).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState

from pipelines.errors import TrainingError
from pipelines.presets import Preset
from pipelines.prompt import load_tokenizer
from pipelines.settings import Settings
from pipelines.training import fresh
from pipelines.training.data.dataset import open_data, write_skipped
from pipelines.training.data.encoded import ensure_encoded
from pipelines.training.model import Model
from pipelines.training.phase import Phase
from pipelines.training.run import Run
from pipelines.training.stages.teacher_autoencoder import AutoencoderPhase
from pipelines.training.stages.teacher_denoising import ControlNetPhase, DiffusionPhase
from pipelines.training.stages.teacher_plan import Reading, TeacherPlan
from pipelines.training.stages.teacher_together import TogetherPhase
from pipelines.training.stages.teacher_words import WordsPhase
from pipelines.training.text import build_tokenizer

__all__ = ["TeacherPlan", "phases"]

#: Captions that the tokenizer learns its words from.
_CAPTIONS = 10_000


def phases(run: Run, *, device: torch.device) -> Iterator[Phase]:
    """Autoencoder, diffusion, and a ControlNet of each kind. Raises TrainingError where there is nothing to learn from,
    or a recipe's teacher isn't trained but fetched."""
    settings, folder = run.recipe.teacher_plan, run.folder / "teacher"
    if settings is None:
        raise TrainingError(f"The recipe {run.recipe.name} needs no teacher trained: it takes {run.recipe.teacher}.")
    train, held_out = open_data(run.data or run.recipe.data, run.recipe.size)
    if not train.has_pictures:
        raise TrainingError("A teacher learns from pictures, not from prompts alone: give a folder of them, or shards.")
    with PartialState().main_process_first():
        write_skipped(train, folder / "skipped.txt")
        tokenizer = _tokenizer(folder / "tokenizer", train.prompts, settings.networks)
    preset = Preset(
        name=run.recipe.name,
        size=run.recipe.size,
        dtype="fp32",
        controls=(),
        defaults=Settings(prompt=train.prompts[0], control="none"),
    )
    yield AutoencoderPhase(settings, tokenizer, preset, train, held_out)
    if settings.lines:
        begun = folder / "autoencoder" / "model"
        yield AutoencoderPhase(settings, tokenizer, preset, train, held_out, begun=begun)
    if settings.together:
        yield from _together(run, settings, device)
        return
    yield DiffusionPhase(settings, folder / "autoencoder" / "model", train, held_out)
    base = folder / "diffusion" / "model"
    for number, kind in enumerate(settings.kinds):
        part = f"controlnet-{kind}" if number else "controlnet"
        yield ControlNetPhase(settings, kind, base, train, held_out, part=part)
        base = folder / part / "model"


def autoencoder_of(run: Run) -> Path:
    """The model directory that the teacher's autoencoder was left in. Raises TrainingError where it isn't."""
    settings = run.recipe.teacher_plan
    part = "lines" if settings is not None and settings.lines else "autoencoder"
    return run.model(f"teacher/{part}", wanted_by="teacher")


def _together(run: Run, settings: TeacherPlan, device: torch.device) -> Iterator[Phase]:
    base = autoencoder_of(run)
    encoded = ensure_encoded(run, Model.load(base), device=device)
    for own in settings.together:
        if isinstance(own, Reading):
            yield WordsPhase(f"teacher/{own.name}", own.plan, base, *encoded)
        else:
            yield TogetherPhase(settings, own, base, *encoded)
        base = run.folder / "teacher" / own.name / "model"


def _tokenizer(folder: Path, captions: Sequence[str], networks: fresh.Networks) -> Any:
    """Learnt once: pairs of equal count are merged in an order of the moment, so a run keeps what it began with."""
    if not (folder / "vocab.json").is_file():
        build_tokenizer(captions[:_CAPTIONS], folder, networks.vocabulary, networks.text_length)
    return load_tokenizer(folder)
