"""Train a stage of a run: its phases one after the other, each going on where it was left."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator

import torch
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env

from pipelines.errors import TrainingError
from pipelines.training.loop import Trainer
from pipelines.training.phase import Phase
from pipelines.training.run import STAGES, Run, write_model
from pipelines.training.stages import controlnet, decoder, gan_finetune, one_step, teacher, unet
from pipelines.training.times import Times, describe_machine

_LOG = logging.getLogger(__name__)
Phases = Callable[..., Iterator[Phase]]
_PHASES: dict[str, Phases] = dict(
    zip(
        STAGES,
        (teacher.phases, decoder.phases, unet.phases, one_step.phases, controlnet.phases, gan_finetune.phases),
        strict=True,
    )
)


def train(stage: str, run: Run, *, until: int | None = None) -> None:
    """Train ``stage`` to its end, or each phase only to step ``until``; a stage that is done is left as it is.

    Raises TrainingError (a missing earlier stage, another recipe's folder, a loss that isn't finite), TrainingStopped.
    """
    if stage not in _PHASES:
        raise TrainingError(f"There is no stage {stage!r}; the stages are {', '.join(STAGES)}.")
    state = join()
    if state.is_main_process:
        _claim(run)
    state.wait_for_everyone()
    if run.has(stage):
        return
    phases, last = _PHASES[stage](run, device=torch.device(state.device)), None
    machine = describe_machine(state.num_processes, gpu=state.device.type == "cuda")
    times = Times(run.folder, machine, writes=state.is_main_process)
    while True:
        with times.of(f"{stage}/data"):  # models are loaded, and pictures made, between the phases
            phase = next(phases, None)
        if phase is None:
            break
        last = run.folder / phase.name / "model"
        with times.of(phase.name):
            exported = (last / "model_index.json").is_file()  # asked before any process can get so far as to write it
            trainer = Trainer(phase, run.folder / phase.name)
            if trainer.step < phase.plan.steps or not exported:
                trainer.run(until=until, exported=last, ends=run.ends)
        if trainer.step < phase.plan.steps:
            return
        del trainer, phase  # before the next one is built: together they may be too large
    if last is not None and last != run.folder / stage / "model" and state.is_main_process:
        write_model(last, run.folder / stage / "model", {})
    state.wait_for_everyone()


def join() -> PartialState:
    """This process among those that accelerate's launcher started. Who asks first says what they run on, and accelerate
    itself hears of the launcher's ``--cpu`` only later."""
    cpu = parse_flag_from_env("ACCELERATE_USE_CPU")
    if cpu and "MASTER_PORT" in os.environ and "WORLD_SIZE" not in os.environ:  # several were wanted
        _LOG.warning(
            "accelerate's launcher starts one process on CPUs; torchrun starts several (see docs/training.md)."
        )
    return PartialState(cpu=cpu)


def leave() -> None:
    """Part from the other processes, if there are any: who just ends may be aborted at it after all is done."""
    PartialState().destroy_process_group()


def _claim(run: Run) -> None:
    """Note whose folder it is. Raises TrainingError where it is another recipe's."""
    file = run.folder / "run.json"
    now = {"recipe": run.recipe.name, "data": run.data, "teacher": run.teacher}
    if file.is_file():
        then = json.loads(file.read_text(encoding="utf-8"))
        for name, value in now.items():
            if then.get(name) != value:
                raise TrainingError(
                    f"{run.folder} belongs to a run with {name} {then.get(name)!r}, not {value!r}: give the same, or "
                    "another --out."
                )
        return
    run.folder.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(now, indent=2) + "\n", encoding="utf-8")
