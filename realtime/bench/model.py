"""One picture at a time, canny included: our backends next to diffusers' own pipeline, same weights, one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from realtime.bench.components import components
from realtime.bench.contenders import DIFFUSERS, NOTES, OURS, contenders
from realtime.bench.errors import CantRun
from realtime.bench.lines import included
from realtime.bench.report import Report, Row, percentile
from realtime.bench.turns import READY_SECONDS, Make, Outcome, take_turns
from realtime.bench.weights import subject


def run(
    *,
    model: str = "auto",
    seconds: float = 20.0,
    only: Mapping[str, Make] | None = None,
    parts: bool = True,
    ready_seconds: float = READY_SECONDS,
) -> Report:
    """``only``: other contenders than all. ``parts``: measure each part of a picture alone too.

    Raises CantRun when nobody can run here.
    """
    with subject(model) as what:
        outcomes, skipped = take_turns(only or contenders(), what, seconds, ready_seconds=ready_seconds)
        if not outcomes:
            raise CantRun(f"None of the contenders runs here: {' '.join(skipped)}")
        tables = [components(what, seconds=min(0.5, seconds / 20))] if parts else []
        return Report(
            what="model",
            timed=f"one picture, uint8 to uint8, {included()}, batch 1; memory: {_memory(what.device.type)}",
            subject=what.about(),
            rows=_rows(outcomes),
            figures=_figures(outcomes),
            tables=tables,
            skipped=skipped,
        )


def _memory(device: str) -> str:
    if device == "cuda":
        return "torch.cuda.max_memory_allocated of the contender's process"
    return "largest resident size of the contender's process, loading included"


def _rows(outcomes: Mapping[str, Outcome]) -> Sequence[Row]:
    base = outcomes.get(DIFFUSERS)
    return [
        Row(
            name=name,
            milliseconds=outcome.milliseconds,
            note=NOTES.get(name, ""),
            more={
                "frames_per_s": round(1000 / _middle(outcome), 1),
                "times_diffusers": round(_middle(base) / _middle(outcome), 2) if base else None,
                "peak_memory_mb": round(outcome.peak_bytes / 1e6),
            },
        )
        for name, outcome in outcomes.items()
    ]


def _figures(outcomes: Mapping[str, Outcome]) -> dict[str, float | str]:
    """Of the quickest of ours that is exact: int8 paints a slightly different picture."""
    ours = {name: _middle(each) for name, each in outcomes.items() if name.startswith(OURS)}
    exact = {name: middle for name, middle in ours.items() if "int8" not in name}
    figures: dict[str, float | str] = {}
    for kind, among in (("exact", exact), ("int8", {name: ours[name] for name in ours if name not in exact})):
        if among:
            best = min(among, key=lambda name: among[name])
            figures[f"quickest, {kind}"] = best
            figures[f"frames/s, {kind}"] = round(1000 / among[best], 1)
            if DIFFUSERS in outcomes:
                figures[f"times diffusers, {kind}"] = round(_middle(outcomes[DIFFUSERS]) / among[best], 2)
    return figures


def _middle(outcome: Outcome) -> float:
    return percentile(outcome.milliseconds, 50)
