"""The ablation of docs/training.md: what each part of the one-step training is for, on the drawn world.

``python docs/make_ablation.py`` trains the recipe ``shapes`` up to the stage ``unet`` once, then the stage ``one-step``
by feature matching alone, by score distillation alone and by both, measures them beside the teacher, and writes
docs/ablation.json, docs/ablation.jpg and the table in docs/training.md. ``--only NAME`` trains one of the three and
writes nothing in docs: so they can run side by side. All of it is resumable.
"""

from __future__ import annotations

import dataclasses
import json
import platform
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import torch
import typer
from numpy.typing import NDArray
from torch import Tensor

from pipelines.training.data.dataset import open_data
from pipelines.training.data.samples import noise_of
from pipelines.training.evaluation.fidelity import fid, kid
from pipelines.training.evaluation.shapes import ShapesJudge, open_judge
from pipelines.training.model import Model
from pipelines.training.one_step_players import Distilling
from pipelines.training.recipes import find_recipe
from pipelines.training.run import Run
from pipelines.training.sampling import one_step_latents, sample
from pipelines.training.train import train

DOCS = Path(__file__).parent
Picture = NDArray[np.uint8]
COUNT, BATCH, SHOWN, SEED = 512, 32, 10, 7_000_000
#: How each is taught, from the recipe's own method.
VARIANTS: dict[str, Callable[[Distilling], Distilling]] = {
    "feature matching alone": lambda method: dataclasses.replace(method, warmup=1.0),
    "score distillation alone": lambda method: dataclasses.replace(
        method, warmup=0.0, alpha=(1.0, 1.0), matching=(0.0, 0.0)
    ),
    "both": lambda method: method,
}
BEFORE = ("teacher", "decoder", "unet")


@torch.no_grad()
def paint(model: Model, latents_of: Callable[[Model, Tensor, list[str]], Tensor], prompts: list[str]) -> list[Picture]:
    """A picture a prompt, uint8 H×W×3, each from its own fixed noise."""
    pictures: list[Picture] = []
    for start in range(0, len(prompts), BATCH):
        some = prompts[start : start + BATCH]
        noise = torch.stack([noise_of(SEED + start + i, model.latent_shape(64, 64)) for i in range(len(some))])
        decoded = model.decode(latents_of(model, noise, some)).clamp(-1, 1).add(1).mul(127.5).round()
        pictures += list(decoded.to(torch.uint8).permute(0, 2, 3, 1).numpy())
    return pictures


def painters(run: Run) -> dict[str, Callable[[list[str]], list[Picture]]]:
    """What is compared, all decoded by the student's decoder, from the same noise."""
    plan = run.recipe.samples

    def many(guidance: float) -> Callable[[Model, Tensor, list[str]], Tensor]:
        return lambda model, noise, prompts: sample(model, noise, prompts, steps=plan.steps, guidance=guidance)

    def one(model: Model, noise: Tensor, prompts: list[str]) -> Tensor:
        return one_step_latents(model, model.unet, noise, model.words(prompts))

    teacher, student = (Model.load(run.folder / stage / "model") for stage in ("decoder", "unet"))
    left = plan.guidance if run.recipe.unet.guidance == 1 else 1.0
    found: dict[str, Callable[[list[str]], list[Picture]]] = {
        f"teacher, {plan.steps} steps": lambda prompts: paint(teacher, many(plan.guidance), prompts),
        f"student of `unet`, {plan.steps} steps": lambda prompts: paint(student, many(left), prompts),
        "student of `unet`, 1 step": lambda prompts: paint(student, one, prompts),
    }
    for name in VARIANTS:
        model = Model.load(variant_run(run, name).folder / "one-step" / "model")
        found[f"1 step, {name}"] = lambda prompts, model=model: paint(model, one, prompts)  # type: ignore[misc]
    return found


def variant_run(run: Run, name: str) -> Run:
    """The run of one variant, in a folder of its own."""
    method = VARIANTS[name](run.recipe.one_step.method)
    recipe = dataclasses.replace(run.recipe, one_step=dataclasses.replace(run.recipe.one_step, method=method))
    return dataclasses.replace(run, folder=run.folder / "variants" / name.replace(" ", "-"), recipe=recipe)


def train_variant(run: Run, name: str) -> None:
    """Train the stage ``one-step`` one way, on copies of what comes before."""
    variant = variant_run(run, name)
    for part in (*BEFORE, "samples"):
        if not (variant.folder / part).exists():
            source = run.folder / part / ("" if part == "samples" else "model")
            target = variant.folder / part / ("" if part == "samples" else "model")
            shutil.copytree(source, target, dirs_exist_ok=True)
    train("one-step", variant)


def measure(pictures: list[Picture], real: list[Picture], prompts: list[str], judge: ShapesJudge) -> dict[str, float]:
    """FID and KID to drawn pictures never trained on, in the judge's features; the share of prompts obeyed."""
    ours, theirs = judge(pictures), judge(real)
    obeyed = judge.obeyed(pictures, prompts)
    return {"fid": fid(theirs, ours), "kid": kid(theirs, ours)[0], **obeyed}


def sheet(rows: dict[str, list[Picture]]) -> Picture:
    """A labelled row of pictures each, uint8 RGB, twice their size."""
    drawn = []
    for name, pictures in rows.items():
        label = np.full((128, 300, 3), 255, np.uint8)
        for number, line in enumerate(name.replace("`", "").split(", ")):
            place = (6, 58 + 24 * number)
            cv2.putText(label, line, place, cv2.FONT_HERSHEY_SIMPLEX, 0.6, (40, 40, 40), 1, cv2.LINE_AA)
        large = [cv2.resize(each, (124, 124), interpolation=cv2.INTER_NEAREST) for each in pictures]
        row = [cv2.copyMakeBorder(each, 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=(255, 255, 255)) for each in large]
        drawn.append(np.concatenate([label, *row], 1))
    return np.concatenate(drawn)


def table(found: dict[str, dict[str, float]]) -> str:
    """Markdown."""
    lines = ["| | FID | KID | prompts obeyed | colour | form | ground |", "| --- | --- | --- | --- | --- | --- | --- |"]
    for name, numbers in found.items():
        shares = " | ".join(f"{100 * numbers[key]:.0f} %" for key in ("all", "colour", "form", "ground"))
        lines.append(f"| {name} | {numbers['fid']:.1f} | {numbers['kid']:.3f} | {shares} |")
    return "\n".join(lines)


def write(found: dict[str, dict[str, float]], shown: dict[str, list[Picture]], about: dict[str, object]) -> None:
    """The JSON, the picture, and the table between its marks in docs/training.md."""
    (DOCS / "ablation.json").write_text(json.dumps({**about, "measured": found}, indent=2) + "\n", encoding="utf-8")
    bgr = cv2.cvtColor(sheet(shown), cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(DOCS / "ablation.jpg"), bgr, [cv2.IMWRITE_JPEG_QUALITY, 90])
    page = DOCS / "training.md"
    marked = re.compile(r"(<!-- ablation -->\n).*?(<!-- /ablation -->)", re.DOTALL)
    text = page.read_text(encoding="utf-8")
    page.write_text(marked.sub(lambda match: f"{match[1]}{table(found)}\n{match[2]}", text), encoding="utf-8")


def main(
    out: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("runs/ablation"),
    only: Annotated[str, typer.Option(help=f"Train one of: {', '.join(VARIANTS)}.")] = "",
) -> None:
    """Train what is missing, measure, and write docs/ablation.*."""
    torch.set_num_threads(1)
    run = Run(folder=out, recipe=find_recipe("shapes"))
    for stage in BEFORE:
        train(stage, run)
    for name in [only] if only else VARIANTS:
        train_variant(run, name)
    if only:
        return
    _, held_out = open_data(run.recipe.data, run.recipe.size)
    prompts, real = list(held_out.prompts[:COUNT]), [held_out.picture(index) for index in range(COUNT)]
    judge = open_judge(out)
    found, shown = (
        {"drawn pictures": measure(real, [held_out.picture(COUNT + i) for i in range(COUNT - 24)], prompts, judge)},
        {"drawn": real[:SHOWN]},
    )
    for name, painter in painters(run).items():
        pictures = painter(prompts)
        found[name] = measure(pictures, real, prompts, judge)
        shown[name] = pictures[:SHOWN]
        typer.echo(f"{name}: {found[name]}")
    write(found, shown, {"recipe": "shapes", "pictures": COUNT, "machine": platform.machine()})


if __name__ == "__main__":
    typer.run(main)
