"""Model: a loaded pipeline with what the server has to know of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from pipelines.album import Album
from pipelines.condition import Conditioner
from pipelines.errors import CheckpointError, DownloadError, MemoryShortage, NoSuchModel, PipelineError
from pipelines.frame_graph import Form
from pipelines.settings import Kind, Settings
from realtime.engine import Engine, Painter
from realtime.errors import BadInput
from realtime.modes import text_alone
from realtime.warm_up import WarmUp

#: The precisions by the names that people use for them.
DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Model:
    """``controls`` are the kinds it has a ControlNet for, perhaps none, and ``conditioners`` those who draw their maps.

    ``album``: what pictures from text alone are looked up in. ``loras``: the names that ``Settings.lora`` may take.
    ``defaults``: the settings that a session starts with.
    ``about`` is what ``GET /api/about`` answers (see ``streaming.service.SessionHub.about``).
    """

    painter: Painter
    conditioners: Mapping[Kind, Conditioner]
    controls: Sequence[Kind]
    loras: Sequence[str]
    defaults: Settings
    about: dict[str, Any]
    album: Album | None = None

    def engine(self, tell: Callable[[WarmUp], object] | None = None) -> Engine:
        """A warm engine of this model. Runs on the inference thread; takes seconds. ``tell`` hears of each step.

        Warm are the settings of a new session and those of text alone; another control costs its first user a moment.
        On a CPU the governor's smaller sizes are warmed once there is a moment for it.
        """
        form: Form = "yuv" if "yuv" in self.painter.forms else "rgb"
        engine = Engine(self.painter, max_batch=self.painter.batches[-1], form=form)
        for kind in self.defaults.kinds:
            self.conditioners[kind].warm_up(self.painter.size, self.defaults)
        later = self.painter.device.type == "cpu"
        settings = [self.defaults] if self.defaults.kinds else []
        engine.warm_up(*settings, text_alone(self.defaults), tell=tell, later=later)
        return engine


def wrap(pipeline: Any, conditioners: Mapping[Kind, Conditioner] | None = None, *, control: str | None = None) -> Model:
    """A Model of a ``pipelines.SDXSPipeline`` (or something of its shape), whose sessions start with ``control``.

    Without ``control`` they start with the preset's own, with another one where the model lacks that, or with ``none``.
    Raises BadInput when the model has no such control.
    """
    controls = tuple(pipeline.controls)
    if conditioners is None:
        from pipelines.conditioners import make_conditioners

        conditioners = make_conditioners(controls, device=pipeline.device)
    defaults = _defaults(pipeline, controls, control)
    return Model(
        painter=pipeline,
        conditioners=conditioners,
        controls=controls,
        loras=tuple(pipeline.loras),
        defaults=defaults,
        about=_about(pipeline, defaults),
        album=pipeline.album,
    )


def verify(model: Model) -> str:
    """One line that says how close to eager's its pictures are. Raises BackendError when they are others."""
    from pipelines.verify import verify

    pipeline: Any = model.painter
    return str(verify(pipeline))


def _defaults(pipeline: Any, controls: Sequence[Kind], control: str | None) -> Settings:
    if control is not None and control not in (*controls, "none"):
        raise BadInput(f"{pipeline.name} has no control {control!r}; it has {', '.join((*controls, 'none'))}.")
    own: Settings = pipeline.preset.defaults
    first = control or (own.control if own.control in (*controls, "none") else (*controls, "none")[0])
    extra = {kind: scale for kind, scale in own.extra_controls.items() if kind in controls and kind != first}
    lora = own.lora if own.lora in pipeline.loras else ""
    return own.replace(control=first, extra_controls={} if first == "none" else extra, lora=lora)


def _about(pipeline: Any, defaults: Settings) -> dict[str, Any]:
    names = {dtype: name for name, dtype in DTYPES.items()}
    return {
        "model": pipeline.name,
        "note": pipeline.preset.note,
        "backend": pipeline.backend_name,
        "device": str(pipeline.device),
        "dtype": "int8" if pipeline.backend_name.endswith("-int8") else names.get(pipeline.dtype, str(pipeline.dtype)),
        "size": list(pipeline.size),
        "controls": list(pipeline.controls),
        "loras": list(pipeline.loras),
        "subjects": [subject.names[0] for subject in pipeline.album.subjects] if pipeline.album else [],
        "styles": [{"name": style.name, "prompt": style.prompt} for style in pipeline.preset.styles],
        "defaults": defaults.as_dict(),
    }


def load(
    name: str,
    *,
    backend: str,
    device: str,
    control: str | None = None,
    dtype: str = "auto",
    size: tuple[int, int] | None = None,
    controlnets: Sequence[str] = (),
    loras: Sequence[str] = (),
    vae: str | None = None,
) -> Model:
    """Load a model by preset name, directory or repository.

    ``dtype``: ``auto`` (the model's own on this device), ``fp16``, ``bf16`` or ``fp32``. ``size``: (height, width), the
    model's own if left out. ``controlnets`` and ``loras``: ``NAME=REPO_OR_PATH`` on top of the model's. ``vae``:
    another decoder. Raises BadInput for what can't be had on this machine or with this model, and
    ``pipelines.errors.PipelineError`` when the files are missing or broken or the memory doesn't suffice.
    """
    from pipelines.sdxs import SDXSPipeline

    if dtype not in ("auto", *DTYPES):
        raise BadInput(f"There is no precision {dtype!r}; use auto, {', '.join(DTYPES)}.")
    try:
        pipeline = SDXSPipeline.from_pretrained(
            name,
            backend=backend,
            device=device,
            dtype=DTYPES.get(dtype),
            size=size,
            controlnets=controlnets,
            loras=loras,
            vae=vae,
        )
    except NoSuchModel as error:
        raise BadInput(str(error)) from None
    except (CheckpointError, DownloadError, MemoryShortage):
        raise
    except PipelineError as error:  # a device, a size or a part that doesn't go with the model
        raise BadInput(str(error)) from None
    return wrap(pipeline, control=control)
