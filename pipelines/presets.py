"""The models known by name: where the weights are, which controls they take, what they expect."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from pipelines.condition import Polarity
from pipelines.errors import CheckpointError, NoSuchModel
from pipelines.folders import models_folder
from pipelines.reading import read_json
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
    """One ControlNet of a model: the ``folder`` within it, or a ``repo`` of its own.

    ``polarity`` is what it was trained on; maps in the other polarity are inverted.
    """

    kind: Kind
    folder: str = "controlnet"
    repo: str = ""
    polarity: Polarity = "white on black"


@dataclass(frozen=True, kw_only=True, config=_CONFIG)
class Lora:
    """A style adapter by the name that ``Settings.lora`` gives, and its repository."""

    name: str
    repo: str


@dataclass(frozen=True, kw_only=True, config=_CONFIG)
class Preset:
    """What is known of a model beside its weights; a model directory says it in ``preset.json``.

    ``repo``: OWNER/NAME on the hub; empty for one that is a directory. ``size``: the native height and width in pixels.
    ``dtype``: what it runs in unless told otherwise; ``auto`` is half precision on a GPU. ``note``: what those who
    paint from text alone should know.
    """

    name: str
    repo: str = ""
    size: tuple[int, int] = (512, 512)
    dtype: Literal["auto", "fp16", "bf16", "fp32"] = "auto"
    licence: str = "unknown"
    note: str = ""
    controls: tuple[Control, ...] = (Control(kind="canny"),)
    loras: tuple[Lora, ...] = ()
    styles: tuple[Style, ...] = ()
    defaults: Settings = Field(default_factory=Settings)


_ADAPTER = TypeAdapter(Preset)

_STYLES = (
    Style(name="Oil", prompt="a self-portrait, oil painting, thick brush strokes, warm light"),
    Style(name="Cinematic", prompt="cinematic photo of a person, shallow depth of field, film grain"),
    Style(name="Comic", prompt="comic book art of a person, bold ink lines, flat colours"),
    Style(name="Watercolour", prompt="watercolour painting of a person, soft washes, white paper"),
    Style(name="Cyborg", prompt="a beautiful cyborg with golden hair, intricate, studio light"),
    Style(name="Neon", prompt="a person in a neon-lit street at night, rain, reflections"),
    Style(name="Marble", prompt="a marble statue in a museum, dramatic light"),
    Style(name="Landscape", prompt="a misty mountain valley at sunrise, highly detailed"),
)
_ANIME = (
    Style(name="Anime", prompt="anime portrait, clean lines, vivid colours"),
    Style(name="City", prompt="anime city street at dusk, glowing signs"),
    Style(name="Meadow", prompt="anime meadow under big summer clouds"),
    Style(name="Heroine", prompt="anime heroine with silver hair, wind, petals"),
    Style(name="Robot", prompt="anime robot in a hangar, detailed"),
)

#: Canny drives it too: the only ControlNet released for SDXS was trained on black strokes on white.
_SKETCH_NET = tuple(
    Control(kind=kind, repo="IDKiro/sdxs-512-dreamshaper-sketch", polarity="black on white")
    for kind in ("canny", "sketch")
)
_DREAMSHAPER = Preset(
    name="sdxs-512-dreamshaper",
    repo="IDKiro/sdxs-512-dreamshaper",
    licence="OpenRAIL++",
    controls=_SKETCH_NET,
    styles=_STYLES,
    defaults=Settings(prompt=_STYLES[0].prompt, conditioning_scale=0.8),
)

#: Those that are fetched. ``embedded`` ships with the package and describes itself.
PUBLISHED: tuple[Preset, ...] = (
    _DREAMSHAPER,
    Preset(
        name="sdxs-512-0.9",
        repo="IDKiro/sdxs-512-0.9",
        dtype="fp32",  # its card: the tiny decoder's pictures are poor in half precision
        licence="OpenRAIL++",
        controls=(),
        styles=_STYLES,
        defaults=Settings(prompt=_STYLES[0].prompt, control="none"),
    ),
    dataclasses.replace(
        _DREAMSHAPER,
        name="sdxs-512-dreamshaper-anime",
        loras=(Lora(name="anime", repo="IDKiro/SDXS-512-DreamShaper-Anime"),),
        styles=_ANIME,
        defaults=Settings(prompt=_ANIME[0].prompt, conditioning_scale=0.8, lora="anime"),
    ),
    Preset(
        name="sd-turbo",
        repo="stabilityai/sd-turbo",
        licence="see the repository",
        controls=(
            Control(kind="canny", repo="thibaud/controlnet-sd21-canny-diffusers"),
            Control(kind="depth", repo="thibaud/controlnet-sd21-depth-diffusers"),
        ),
        styles=_STYLES,
        defaults=Settings(prompt=_STYLES[0].prompt),
    ),
)

#: A layout without weights: to be trained and benchmarked.
SDXS_1024 = Preset(
    name="sdxs-1024",
    size=(1024, 1024),
    licence="never released",
    controls=(),
    styles=_STYLES,
    defaults=Settings(prompt=_STYLES[0].prompt, control="none"),
)
PRESETS: tuple[Preset, ...] = (*PUBLISHED, SDXS_1024)


def find_preset(name_or_repo: str) -> Preset | None:
    """The preset of that name, or the one whose base model that repository is, unless it is a directory here too."""
    named = [preset for preset in PRESETS if preset.name == name_or_repo]
    based = [preset for preset in PUBLISHED if preset.repo == name_or_repo and not Path(name_or_repo).is_dir()]
    return next(iter([*named, *based]), None)


def known_polarity(repo: str) -> Polarity:
    """What a ControlNet of that repository was trained on; white on black if nobody here knows better."""
    known = {control.repo: control.polarity for preset in PRESETS for control in preset.controls}
    return known.get(repo, "white on black")


def find_model(name_or_directory: str | Path) -> Path:
    """The directory behind a preset's name or a path; that of a preset may not have been fetched yet.

    Raises NoSuchModel with the names that exist.
    """
    name = str(name_or_directory)
    if name == "embedded":
        return EMBEDDED
    if (preset := find_preset(name)) and preset.repo:
        return models_folder() / preset.repo
    directory = Path(name).expanduser()
    if directory.is_dir():
        return directory
    if preset:
        raise CheckpointError(
            f"The weights of {name} were never released, so it can't be fetched or run: it comes into being by "
            "training it from SDXL, and its directory is then given instead of the name."
        )
    known = ", ".join(["embedded", *(preset.name for preset in PRESETS)])
    raise NoSuchModel(
        f"There is no model {name!r}: it is neither a directory nor OWNER/NAME of a repository nor one of the "
        f"presets ({known})."
    )


def read_preset(directory: Path) -> Preset:
    """``preset.json`` of a model directory; without one, what is known by its name, or what its U-Net's configuration
    tells. Raises CheckpointError naming the file.
    """
    file = directory / "preset.json"
    if not file.is_file():
        published = next((each for each in PUBLISHED if directory == models_folder() / each.repo), None)
        return published or _derived(directory)
    try:
        return _ADAPTER.validate_python(read_json(file))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise CheckpointError(f"{file}: {'.'.join(map(str, first['loc']))}: {first['msg']}.") from None


def _derived(directory: Path) -> Preset:
    side = 8 * int(read_json(directory / "unet" / "config.json").get("sample_size") or 64)
    controls = (Control(kind="canny"),) if (directory / "controlnet").is_dir() else ()
    defaults = Settings(control="canny" if controls else "none")
    return Preset(name=directory.name, size=(side, side), controls=controls, defaults=defaults)
