"""Model: a loaded pipeline with what the server has to know of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from pipelines.condition import Conditioner
from pipelines.errors import BackendError, PipelineError
from pipelines.settings import Settings
from realtime.engine import Engine, Painter
from realtime.errors import BadInput

#: On a GPU company is nearly free. On a CPU a picture more takes its full time, which the others would wait for.
GPU_BATCH, CPU_BATCH = 8, 1


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Model:
    """``about`` is what ``GET /api/about`` answers (see ``streaming.service.SessionHub.about``)."""

    painter: Painter
    conditioner: Conditioner
    controls: Sequence[str]
    defaults: Settings
    about: dict[str, Any]

    def engine(self) -> Engine:
        """A warm engine of this model. Runs on the inference thread; takes seconds."""
        engine = Engine(self.painter, max_batch=CPU_BATCH if self.painter.device.type == "cpu" else GPU_BATCH)
        self.conditioner(np.zeros((*self.painter.size, 3), np.uint8), self.defaults)
        engine.warm_up(self.defaults)
        return engine


def wrap(pipeline: Any, conditioner: Conditioner | None = None, *, control: str | None = None) -> Model:
    """A Model of a ``pipelines.SDXSPipeline`` (or something of its shape), whose sessions start with ``control``.

    Raises BadInput when the model has no such control.
    """
    if conditioner is None:
        from pipelines.canny import CannyConditioner

        conditioner = CannyConditioner()
    preset = pipeline.preset
    controls = [each.kind for each in preset.controls]
    if control is not None and control not in controls:
        raise BadInput(f"{pipeline.name} has no control {control!r}; it has {', '.join(controls) or 'none'}.")
    defaults = preset.defaults.replace({"control": control} if control else {})
    return Model(
        painter=pipeline,
        conditioner=conditioner,
        controls=controls,
        defaults=defaults,
        about={
            "model": pipeline.name,
            "backend": pipeline.backend_name,
            "device": str(pipeline.device),
            "size": list(pipeline.size),
            "controls": controls,
            "styles": [{"name": style.name, "prompt": style.prompt} for style in preset.styles],
            "defaults": defaults.as_dict(),
        },
    )


def load(name: str, *, backend: str, device: str, control: str | None = None) -> Model:
    """Load a model by preset name or directory.

    Raises BadInput when there is no such model, device, backend or control here, and
    ``pipelines.errors.PipelineError`` when the model's files can't be loaded.
    """
    from pipelines.presets import find_model
    from pipelines.sdxs import SDXSPipeline

    try:
        directory = find_model(name)
    except PipelineError as error:
        raise BadInput(str(error)) from None
    try:
        pipeline = SDXSPipeline.from_pretrained(directory, backend=backend, device=device)
    except BackendError as error:
        raise BadInput(str(error)) from None
    return wrap(pipeline, control=control)
