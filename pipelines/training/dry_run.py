"""What ``sdxs-live train STAGE --dry-run`` prints: the stage's numbers, and what it would take (``estimate``)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from pipelines.training.estimate import (
    UTILISATION,
    PhaseEstimate,
    SamplesEstimate,
    estimate,
    estimate_encoded,
    estimate_samples,
    makers,
)
from pipelines.training.recipe import Recipe

_FIELDS = {
    "teacher": "teacher_plan",
    "decoder": "decoder",
    "unet": "unet",
    "one-step": "one_step",
    "controlnet": "controlnet",
    "gan-finetune": "gan_finetune",
}


def print_stage(
    console: Console, recipe: Recipe, stage: str, *, gpu: str = "h100", processes: int = 1, teacher: str = ""
) -> None:
    """Print the stage of a recipe; nothing is fetched. Raises TrainingError as ``estimate`` does."""
    found = estimate(recipe, stage, gpu=gpu, processes=processes, teacher=teacher)
    source = teacher or recipe.teacher or "trained by the stage teacher"
    console.print(f"{stage}, recipe {recipe.name}: {recipe.about}", soft_wrap=True, highlight=False)
    console.print(
        f"{recipe.size[1]}×{recipe.size[0]} pixels, teacher: {source}, data: {recipe.data or '--data'}",
        soft_wrap=True,
        highlight=False,
    )
    console.print(_settings_table(getattr(recipe, _FIELDS[stage])))
    encodes, samples = makers(recipe)
    if stage == encodes:
        console.print(_made_table("pictures as latents", estimate_encoded(recipe, gpu=gpu), gpu, "; drawing on top"))
    if stage == samples:
        console.print(_made_table("the teacher's samples", estimate_samples(recipe, gpu=gpu, teacher=teacher), gpu))
    for each in found:
        console.print(_phase_table(each, gpu=gpu, processes=processes))
    console.print(_footnote(gpu), style="dim", soft_wrap=True, highlight=False)


def settings_of(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every number of a plan, the nested ones' names with dots."""
    for field in dataclasses.fields(value):
        inner = getattr(value, field.name)
        if dataclasses.is_dataclass(inner):
            yield from settings_of(inner, f"{prefix}{field.name}.")
        elif isinstance(inner, tuple) and inner and dataclasses.is_dataclass(inner[0]):
            for part in inner:  # phases, each by its name
                yield from settings_of(part, f"{prefix}{field.name}.{part.name}.")
        else:
            yield f"{prefix}{field.name}", str(inner)


def _settings_table(settings: Any) -> Table:
    columns = [Column(name, overflow="fold") for name in ("Setting", "Value") * 2]
    table = Table(*columns, box=None, pad_edge=False)
    pairs = list(settings_of(settings))
    half = -(-len(pairs) // 2)
    for place in range(half):
        table.add_row(*pairs[place], *(pairs[place + half] if place + half < len(pairs) else ("", "")))
    return table


def _phase_table(found: PhaseEstimate, *, gpu: str, processes: int) -> Table:
    table = Table("", "", title=found.work.name, title_justify="left", box=None, pad_edge=False, show_header=False)
    for name, (parameters, trains) in found.networks.items():
        table.add_row(f"{name}{', trains' if trains else ''}", f"{parameters:,} parameters")
    memory = found.memory
    parts = {field.name: getattr(memory, field.name) for field in dataclasses.fields(memory)}
    told = ", ".join(f"{name} {_bytes(amount)}" for name, amount in parts.items())
    table.add_row("memory a process", f"{_bytes(memory.total)} ({told})")
    table.add_row("samples", f"{found.samples:,} in {found.work.plan.steps:,} steps of {found.work.plan.batch:,}")
    table.add_row("FLOPs", f"{found.flops:.3g}, {found.flops / max(found.samples, 1):.3g} a sample")
    table.add_row("time", f"{_time(found.seconds / processes)} on {processes} × {gpu}")
    if gpu != "cpu":
        table.add_row("cost", f"{found.seconds / 3600:,.2f} GPU-hours")
    table.add_row("checkpoints", f"{_bytes(found.checkpoints)} of disk at most")
    return table


def _made_table(title: str, found: SamplesEstimate, gpu: str, more: str = "") -> Table:
    table = Table("", "", title=title, title_justify="left", box=None, pad_edge=False)
    table.show_header = False
    table.add_row("count", f"{found.count:,}")
    table.add_row("time", f"{found.flops:.3g} FLOPs, {_time(found.seconds)} on 1 × {gpu}{more}")
    table.add_row("disk", _bytes(found.disk))
    return table


def _footnote(gpu: str) -> str:
    speed = "0.2 TFLOP/s, two cores" if gpu == "cpu" else f"{UTILISATION:.0%} of its peak in bf16"
    return (
        f"Estimates. Memory: float32 weights, gradients, AdamW and averages, and what autograd keeps of a micro-batch; "
        f"work buffers come on top. Time: {gpu} at {speed}, which is assumed; without data loading and validation."
    )


def _bytes(amount: float) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20)):
        if amount >= size:
            return f"{amount / size:,.1f} {unit}"
    return f"{amount / 2**10:,.1f} KiB" if amount else "0"


def _time(seconds: float) -> str:
    if seconds >= 48 * 3600:
        return f"{seconds / 86400:,.1f} days"
    return f"{seconds / 3600:,.1f} hours" if seconds >= 3600 else f"{seconds / 60:,.1f} minutes"
