"""``sdxs-live eval``: how good a model's pictures are, as a table or as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from realtime.errors import BadInput
from realtime.options import AsJson, Controlnets, Device
from realtime.train_command import check_extra

if TYPE_CHECKING:
    from pipelines.training.evaluation.score import Score


def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model's name, directory or OWNER/NAME.")],
    data: Annotated[
        str,
        typer.Option(help="Pictures with captions, as in training, or shapes; scikit-image's photographs if left out."),
    ] = "",
    metrics: Annotated[
        str,
        typer.Option(
            help="With commas: edge-skill, fid, kid, clip, depth, depth-skill, warp, shapes, of which those that "
            "can be had are measured if left out; styles, seeds, strengths, colours and blends, which paint hundreds "
            "of pictures."
        ),
    ] = "",
    count: Annotated[int, typer.Option(min=2, help="Pictures a metric, at most.")] = 64,
    prompt: Annotated[
        list[str] | None, typer.Option(help="Paint this instead of the model's styles or the captions (repeatable).")
    ] = None,
    styles: Annotated[str, typer.Option(help="The model's styles: all, or NAME,NAME; what suits the metric.")] = "",
    styles_of: Annotated[str, typer.Option(metavar="MODEL", help="Take that model's styles, not its own.")] = "",
    control: Annotated[str, typer.Option(help="What pictures are held to; what suits the metric if left out.")] = "",
    strength: Annotated[float, typer.Option(min=0, max=2, help="How strongly.")] = 0.8,
    init_strength: Annotated[float, typer.Option(min=0, max=1, help="How much of the pictures' own colours.")] = 0.0,
    steps: Annotated[int, typer.Option(min=1, max=1000, help="More than 1 for a teacher: sampling steps.")] = 1,
    guidance: Annotated[float, typer.Option(min=0, max=30, help="Classifier-free guidance of many steps.")] = 1.0,
    judge: Annotated[
        str, typer.Option(metavar="MODEL", help="For styles: whose pictures teach the judge; the model's own.")
    ] = "",
    judge_steps: Annotated[int, typer.Option(min=1, max=1000, help="Steps of that model.")] = 1,
    judge_guidance: Annotated[float, typer.Option(min=0, max=30, help="Guidance of its many steps.")] = 1.0,
    steadiness: Annotated[
        float | None, typer.Option(min=0, max=1, help="For warp: how steady clips are made; as live if left out.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=2, help="For seeds: how many are compared.")] = 4,
    seed: Annotated[int, typer.Option(min=0, help="Of the first picture; the next ones count up.")] = 0,
    features: Annotated[
        str, typer.Option(help="For FID and KID: Inception's file, or a directory with a CLIP or DINOv2 model.")
    ] = "",
    clip_model: Annotated[str, typer.Option(help="For the CLIP score: a directory, or OWNER/NAME.")] = "",
    video: Annotated[str, typer.Option(help="For the warp error: a film, instead of a photograph moved about.")] = "",
    controlnet: Controlnets = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Measure a model: how well it keeps edges and depth, how near it comes to real pictures, how steady it paints."""
    check_extra()
    from pipelines.folders import cache_folder
    from pipelines.training.evaluation import measure
    from pipelines.training.evaluation.bench import Wanted
    from pipelines.training.evaluation.painter import Painter

    names = [name.strip() for name in metrics.split(",") if name.strip()]
    measure.check(names)
    wanted = Wanted(
        data=data,
        count=count,
        prompts=tuple(prompt or ()),
        control=control,
        styles=styles,
        strength=strength,
        init_strength=init_strength,
        seed=seed,
        seeds=seeds,
        steadiness=steadiness,
        features=features,
        clip_model=clip_model,
        video=video,
        cache=Path(cache_folder()) / "judges",
    )
    with Console(stderr=True).status("Loading the model ...") as status:
        painted = 0

        def count_up(some: int) -> None:
            nonlocal painted
            painted += some
            status.update(f"{painted} pictures painted ...")

        def load(name: str, steps: int, guidance: float) -> Painter:
            nets = tuple(controlnet or ())
            return Painter(name, device=device, controlnets=nets, steps=steps, guidance=guidance, painted=count_up)

        painter = load(model, steps, guidance)
        if styles_of:
            painter.styles = _styles_of(styles_of)
        tutor = load(judge, judge_steps, judge_guidance) if judge else None
        scores = measure.measure(painter, names or measure.usual(painter, wanted), wanted, judge=tutor)
    _print(scores, as_json)


def _styles_of(model: str) -> list[tuple[str, str]]:
    from pipelines.presets import find_model, read_preset

    found = [(each.name, each.prompt) for each in read_preset(find_model(model)).styles]
    if not found:
        raise BadInput(f"--styles-of {model}: that model names no styles.")
    return found


def _print(scores: Sequence[Score], as_json: bool) -> None:
    if as_json:
        from realtime.terminal import print_json

        print_json([dataclasses.asdict(score) for score in scores])
    else:
        Console().print(score_table(scores))


def score_table(scores: Sequence[Score]) -> Table:
    """One row a score."""
    table = Table("Metric", "Value", "Better", "Of", box=None, pad_edge=False)
    table.columns[0].no_wrap = True
    for score in scores:
        spread = "" if score.spread is None else f" ± {score.spread:.4g}"
        table.add_row(score.metric, f"{score.value:.4g}{spread}", score.better, score.about)
    return table
