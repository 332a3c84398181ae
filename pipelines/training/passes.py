"""The words in which ``work`` says what a phase does: passes through networks, turns, and what is in memory.

``train``: forward, and backward to the weights and the input (three times a forward's FLOPs); ``through``: backward to
the input alone (twice); ``look``: forward only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipelines.errors import TrainingError
from pipelines.training.cost import Way
from pipelines.training.one_step_players import Distilling
from pipelines.training.phase import Plan


@dataclass(frozen=True, kw_only=True)
class Pass:
    """``times``: on average, for each sample of a step."""

    network: str
    way: Way
    times: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Work:
    """One phase. ``turns``: each player's passes. ``trained``: networks with gradients and AdamW's states;
    ``averaged``: those with a running average; ``frozen``: how often each of the others is in memory. ``crop``: latents
    a side of what passes through, 0 for whole pictures."""

    name: str
    plan: Plan
    turns: Sequence[Sequence[Pass]]
    trained: Sequence[str]
    averaged: Sequence[str]
    frozen: Mapping[str, int] = field(default_factory=dict)
    crop: int = 0


def distilling(
    method: Distilling, painting: Sequence[Pass], watching: Sequence[Pass], controls: Sequence[str]
) -> list[list[Pass]]:
    """The student's turn, whose score half begins after the warm-up, and the fake score's."""
    share = 1 - method.warmup
    asked = share * (2 if method.guidance != 1 else 1)
    student = [look("teacher text", 1 + (asked > share)), *painting]
    if method.matched:
        student += [look("teacher U-Net encoder"), through("teacher U-Net encoder")]
    student += [look("teacher U-Net", asked), look("teacher U-Net (fake)", share)]
    student += [look(each, asked + share) for each in controls]
    fake = [look("teacher text"), *watching, train("teacher U-Net (fake)", method.fake_draws)]
    return [student, [*fake, *(look(each, method.fake_draws) for each in controls)]]


def said(plan: Plan | None) -> Plan:
    """Raises TrainingError for a phase that the recipe has and says nothing of."""
    if plan is None:
        raise TrainingError("The recipe has a phase of which it doesn't say how long it trains: give it a plan.")
    return plan


#: What ``Model`` moves to the device beside what trains.
TEACHER = {"teacher U-Net": 1, "teacher decoder": 1, "teacher encoder": 1, "teacher text": 1}
STUDENT = {"decoder": 1, "encoder": 1, "student text": 1}


def train(network: str, times: float = 1.0) -> Pass:
    """See above."""
    return Pass(network=network, way="train", times=times)


def through(network: str, times: float = 1.0) -> Pass:
    """See above."""
    return Pass(network=network, way="through", times=times)


def look(network: str, times: float = 1.0) -> Pass:
    """See above."""
    return Pass(network=network, way="look", times=times)
