"""Measures the embedded model by ``sdxs-live eval`` and writes the figures into its card.

``python docs/make_card.py`` fills what stands between ``<!-- eval:NAME -->`` and ``<!-- /eval -->`` in
pipelines/embedded/README.md from the JSON files in docs/eval; nothing of it is written by hand. ``--measure
embedded,coloured,sketch,depth,blends`` takes those files anew, ``--measure before --before DIR`` and ``--measure
teacher,by-teacher --teacher DIR --steps 16 --guidance 2`` the others.
"""

from __future__ import annotations

import datetime
import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.tables import NOT_YET, grid  # noqa: E402

RESULTS, CARD = ROOT / "docs" / "eval", ROOT / "pipelines" / "embedded" / "README.md"
MARKED = re.compile(r"(<!-- eval:([\w-]+) -->\n).*?(<!-- /eval -->)", re.DOTALL)
EVERY = ("--metrics", "edge-skill,styles,seeds,strengths,colours,warp", "--styles", "all")
#: Edge skills that have files of their own, and what they are called there.
ELSEWHERE = {"sketch": "edge-skill", "depth": "depth-skill", "coloured": "edge-skill", "blends": "blend-skill"}
STRENGTHS = ("0", "0.2", "0.4", "0.6", "0.8", "1")

Report = Mapping[str, Any]
Reports = Mapping[str, Report]


def commands(model: str, before: str, teacher: str, steps: int, guidance: float) -> dict[str, list[str]]:
    """What each file holds the answer of."""
    judged = ["--judge", teacher, "--judge-steps", str(steps), "--judge-guidance", str(guidance)]
    many = ["--steps", str(steps), "--guidance", str(guidance), "--styles-of", model]
    return {
        "embedded": [model, *EVERY],
        "coloured": [model, "--metrics", "edge-skill,warp", "--styles", "all", "--init-strength", "0.7"],
        "sketch": [model, "--metrics", "edge-skill", "--control", "sketch"],
        "depth": [model, "--metrics", "depth-skill"],
        "blends": [model, "--metrics", "blends"],
        "before": [before, *EVERY],
        "teacher": [teacher, *many, "--metrics", "edge-skill,styles"],
        "by-teacher": [model, "--metrics", "styles", *judged],
    }


def take(name: str, arguments: Sequence[str]) -> None:
    """Run one and keep its answer."""
    command = [sys.executable, "-m", "realtime", "eval", *arguments, "--json"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise typer.Exit(done.returncode)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    said = [Path(each).name if Path(each).is_dir() else each for each in arguments]
    report = {
        "command": " ".join(["sdxs-live", "eval", *said]),
        "date": datetime.date.today().isoformat(),
        "commit": commit.stdout.strip(),
        "scores": json.loads(done.stdout),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def render(card: str, results: Path = RESULTS) -> str:
    """The card with all its marked blocks made anew. Raises KeyError for a block that nobody knows."""
    reports = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(results.glob("*.json"))}

    def block(match: re.Match[str]) -> str:
        needs, make = BLOCKS[match[2]]
        made = make(reports) if set(needs) <= set(reports) else NOT_YET
        return f"{match[1]}{made.rstrip()}\n{match[3]}"

    return MARKED.sub(block, card)


def score(report: Report, metric: str, part: str = "") -> Mapping[str, Any]:
    """One line of a report. Raises KeyError."""
    for each in report["scores"]:
        if (each["metric"], each["part"]) == (metric, part):
            found: Mapping[str, Any] = each
            return found
    raise KeyError(f"{metric} {part}: not in what `{report['command']}` measured")


def value(report: Report, metric: str, part: str = "") -> float:
    return float(score(report, metric, part)["value"])


def parts(report: Report, metric: str) -> list[str]:
    """The styles, or whatever the lines of that metric are of."""
    return [each["part"] for each in report["scores"] if each["metric"] == metric and each["part"]]


def two(number: float) -> str:
    """Two digits, and no minus before a zero."""
    return f"{round(number, 2) + 0.0:.2f}"


def percent(number: float) -> str:
    return f"{100 * number:.0f} %"


def styles(reports: Reports) -> str:
    """A row a style, and their mean."""
    report = reports["embedded"]
    columns = ("edge-skill", "style-accuracy", "colour-correlation", "colour-slope")

    def row(label: str, cells: Sequence[float]) -> list[str]:
        skill, right, *colours = cells
        return [label, f"{skill:.2f}", percent(right), *map(two, colours)]

    rows = [row(name, [value(report, metric, name) for metric in columns]) for name in parts(report, "edge-skill")]
    means = [value(report, metric, "1" if metric.startswith("colour") else "") for metric in columns]
    head = ["style", "edge skill", "told apart", "camera's colours at init_strength 1: correlation", "slope"]
    worst = score(report, "style-confusion")
    share = f", {percent(worst['value'])} of its pictures" if worst["value"] else ""
    return f"{grid(head, [*rows, row('**mean**', means)])}\nConfusion: {worst['about']}{share}. {about(report)}\n"


def strengths(reports: Reports) -> str:
    """The skill at each strength, this model's and the older one's where that was measured."""
    called = {"embedded": "this model", "before": "the first version"}
    shown = {name: reports[key] for key, name in called.items() if key in reports}
    rows = [
        [name, *(two(value(report, "strength-skill", strength)) for strength in STRENGTHS)]
        for name, report in shown.items()
    ]
    report = reports["embedded"]
    step, widest = value(report, "strength-step"), score(report, "strength-evenness")
    steps = f"A step changes a picture by {step:.1f} grey levels; the {widest['about']}, by {widest['value']:.2f} times"
    return f"{grid(['edge skill at strength', *STRENGTHS], rows)}\n{steps} that.\n"


def seeds(reports: Reports) -> str:
    report = reports["embedded"]
    rows = [
        [score(report, "seed-ssim", part)["about"]]
        + [f"{value(report, 'seed-ssim', part):.2f}", f"{value(report, 'seed-difference', part):.1f}"]
        for part in ("", "text")
    ]
    return grid(["two seeds", "SSIM", "grey levels between them"], rows)


def colours(reports: Reports) -> str:
    report = reports["embedded"]
    shown = ("0", "0.5", "1")
    rows = [
        [label, *(two(value(report, metric, strength)) for strength in shown)]
        for label, metric in (("correlation", "colour-correlation"), ("slope", "colour-slope"))
    ]
    return grid(["camera's chroma in the picture, at init_strength", *shown], rows)


def steady(reports: Reports) -> str:
    """Of a still camera and a pan, in all styles."""
    called = {"embedded": "this model", "coloured": "with colours at 0.7"}
    shown = {name: reports[key] for key, name in called.items() if key in reports}
    rows = []
    for name, report in shown.items():
        for label, metric, part in (
            ("still camera, frame difference", "frame-ratio", "still"),
            ("slow pan, warp error", "warp-ratio", "pan"),
        ):
            worst = score(report, metric, f"{part} worst")
            style = worst["about"].rpartition(": ")[2]
            given = value(report, metric.replace("ratio", "error-input"), part)
            cells = [f"{given:.2f}", f"{value(report, metric, part):.2f}", f"{worst['value']:.2f} ({style})"]
            cells.append(f"{value(report, metric, f'{part} as painted'):.2f}")
            rows.append([f"{name}: {label}", *cells])
    return grid(
        ["", "the input's, grey levels", "shown, times that", "in the worst style", "before it is steadied"], rows
    )


def teacher(reports: Reports) -> str:
    """What one step keeps of many."""
    many, one = reports["teacher"], reports["embedded"]
    rows = [
        [
            label,
            f"{value(many, metric):.2f}",
            f"{value(ours, metric):.2f}",
            percent(value(ours, metric) / value(many, metric)),
        ]
        for label, metric, ours in (
            ("edge skill", "edge-skill", one),
            ("style accuracy, each by a judge trained on its own pictures", "style-accuracy", one),
            ("style accuracy, judge trained on the teacher's pictures", "style-accuracy", reports["by-teacher"]),
        )
    ]
    return f"{grid(['', 'teacher', 'one step', 'kept'], rows)}\nTeacher: {about(many)}\n"


def summary(reports: Reports) -> str:
    """What was asked for, next to what was measured, and the older model's figures where there are some."""
    report, old = reports["embedded"], reports.get("before")
    rows = []
    for what, must, aim, metric, part, digits in (
        ("edge skill, mean over styles, strength 0.8", "0.45", "0.6", "edge-skill", "", 2),
        ("the same, held to a sketch", "", "", "sketch", "", 2),
        ("the same, held to a known depth", "", "", "depth", "", 2),
        ("the same, with the photograph's colours at 0.7", "", "", "coloured", "", 2),
        ("the same, between two styles, mean of five steps of the way", "", "", "blends", "", 2),
        ("the same, where on the way between two it is kept least", "", "", "blends", "worst", 2),
        ("most edge skill lost by one step up in strength", "0", "", "strength-loss", "", 3),
        ("styles told apart", "0.9", "", "style-accuracy", "", 2),
        ("still camera: frame difference, times the input's", "1.5", "", "frame-ratio", "still", 2),
        ("the same, before it is steadied", "", "", "frame-ratio", "still as painted", 2),
        ("slow pan: warp error, times the input's", "1.5", "", "warp-ratio", "pan", 2),
        ("the same, before it is steadied", "", "", "warp-ratio", "pan as painted", 2),
    ):
        if metric in ELSEWHERE:
            cells = [f"{value(reports[metric], ELSEWHERE[metric], part):.2f}" if metric in reports else "", ""]
        else:
            # The first version was shown as it was painted.
            raw = part if not part or part.endswith("as painted") else f"{part} as painted"
            pairs = ((report, part), (old, raw))
            cells = [f"{value(each, metric, line):.{digits}f}" if each else "" for each, line in pairs]
        rows.append([what, must, aim, *cells])
    return grid(["", "must", "aim", "measured", "first version"], rows)


def about(report: Report) -> str:
    return f"{report['date']}, commit {report['commit']}, `{report['command']}`."


#: Each with the files that it can't do without.
BLOCKS: Mapping[str, tuple[Sequence[str], Callable[[Reports], str]]] = {
    "summary": (("embedded",), summary),
    "styles": (("embedded",), styles),
    "strengths": (("embedded",), strengths),
    "seeds": (("embedded",), seeds),
    "colours": (("embedded",), colours),
    "steady": (("embedded",), steady),
    "teacher": (("embedded", "teacher", "by-teacher"), teacher),
}


def main(
    measure: Annotated[
        str, typer.Option(help="Take these files anew first: " + ", ".join(commands("", "", "", 1, 1)))
    ] = "",
    model: Annotated[str, typer.Option(help="The model of the card.")] = "embedded",
    before: Annotated[str, typer.Option(help="Directory of an older one.")] = "",
    teacher: Annotated[str, typer.Option(help="Directory of its teacher.")] = "",
    steps: Annotated[int, typer.Option(help="The teacher's steps.")] = 16,
    guidance: Annotated[float, typer.Option(help="The teacher's guidance.")] = 2.0,
    count: Annotated[int, typer.Option(help="Photographs at most.")] = 8,
    check: Annotated[bool, typer.Option("--check", help="Only say whether the card is up to date.")] = False,
) -> None:
    """Exit code 1 where the card isn't what it would be made now and was only to be checked."""
    known = commands(model, before, teacher, steps, guidance)
    for name in (each.strip() for each in measure.split(",") if each.strip()):
        if name not in known or "" in known[name]:
            raise typer.BadParameter(f"{name}: one of {', '.join(known)}; before and teacher need their directory.")
        take(name, [*known[name], "--count", str(count)])
    card = CARD.read_text(encoding="utf-8")
    made = render(card)
    if made != card and check:
        raise typer.Exit(1)
    CARD.write_text(made, encoding="utf-8")
    typer.echo("Changed." if made != card else "Nothing to change.")


if __name__ == "__main__":
    typer.run(main)
