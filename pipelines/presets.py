"""The models known by name: where the weights are, which controls they take, what they expect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from pipelines.condition import Polarity
from pipelines.checkpoint import count_parameters, read_json
from pipelines.errors import CheckpointError
from pipelines.settings import Kind, Settings

EMBEDDED = Path(__file__).parent / "embedded"
_CONFIG = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True, config=_CONFIG)
class Style:
    """A preset of the studio: a name to show and the prompt it stands for."""

    name: str
    prompt: str


@dataclass(frozen=True, kw_only=True, config=_CONFIG)
class Control:
    """One ControlNet of a model. ``polarity`` is what it was trained on; maps in the other polarity are inverted."""

    kind: Kind
    folder: str = "controlnet"
    polarity: Polarity = "white on black"


@dataclass(frozen=True, kw_only=True, config=_CONFIG)
class Preset:
    """What a model directory says of itself in ``preset.json``. ``size`` is the native height and width in pixels."""

    name: str
    size: tuple[int, int] = (512, 512)
    licence: str = "unknown"
    controls: tuple[Control, ...] = (Control(kind="canny"),)
    styles: tuple[Style, ...] = ()
    defaults: Settings = Field(default_factory=Settings)


_ADAPTER = TypeAdapter(Preset)


def find_model(name_or_directory: str | Path) -> Path:
    """The directory behind a preset's name or a path. Raises CheckpointError with the names that exist."""
    if str(name_or_directory) == "embedded":
        return EMBEDDED
    directory = Path(name_or_directory).expanduser()
    if directory.is_dir():
        return directory
    raise CheckpointError(
        f"There is no model {str(name_or_directory)!r}: it is neither a directory nor one of the presets (embedded)."
    )


def read_preset(directory: Path) -> Preset:
    """``preset.json`` of a model directory; without one, what its U-Net's configuration tells.

    Raises CheckpointError naming the file.
    """
    file = directory / "preset.json"
    if not file.is_file():
        side = 8 * int(read_json(directory / "unet" / "config.json").get("sample_size") or 64)
        return Preset(name=directory.name, size=(side, side))
    try:
        return _ADAPTER.validate_python(read_json(file))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise CheckpointError(f"{file}: {'.'.join(map(str, first['loc']))}: {first['msg']}.") from None


def list_presets() -> list[dict[str, Any]]:
    """Every model known by name, as ``sdxs-live models --json`` prints it; parameters are counted from the layouts."""
    return [_row(EMBEDDED)]


def _row(directory: Path) -> dict[str, Any]:
    preset = read_preset(directory)
    controls = [
        {"kind": control.kind, "repo": preset.name, "parameters": count_parameters(directory / control.folder)}
        for control in preset.controls
    ]
    return {
        "name": preset.name,
        "size": list(preset.size),
        "unet_parameters": count_parameters(directory / "unet"),
        "controls": controls,
        "licence": preset.licence,
        "present": (directory / "unet" / "diffusion_pytorch_model.safetensors").is_file(),
    }
