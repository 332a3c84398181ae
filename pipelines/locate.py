"""From a model's name to its files on this machine, fetched if they are not here.

Small files come first. What doesn't fit is refused by them, before any weights are fetched or loaded.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors import SafetensorError, safe_open

from pipelines import compatible
from pipelines.errors import CheckpointError, MisfitError, NoSuchModel
from pipelines.files import ModelFiles
from pipelines.hub import Hub, is_repository, repository_folder
from pipelines.parts import Adapter, Base, Network, Part, pickles
from pipelines.presets import Control, Preset, find_model, find_preset, known_polarity, read_preset
from pipelines.settings import KINDS


def locate(
    name_or_directory: str | Path,
    *,
    controlnets: Sequence[str] = (),
    loras: Sequence[str] = (),
    vae: str | None = None,
    half: bool = False,
    endpoint: str | None = None,
) -> ModelFiles:
    """The files of a preset, a directory or a repository, fetched if they are not here.

    ``controlnets`` and ``loras``: ``NAME=REPO_OR_PATH`` (NAME is a kind, or what ``Settings.lora`` will call it) on top
    of the preset's own. ``vae``: another decoder: a folder name of the model, a path or a repository. ``half``: take
    the half precision form of weights where there is a choice. ``endpoint``: the hub, if not ``$HF_ENDPOINT``'s. A
    second call asks the network nothing. Raises CheckpointError, MisfitError or DownloadError.
    """
    plan = _plan(name_or_directory, controlnets, loras, vae)
    absent = [part for part in plan.parts() if part.repo and not _is_here(part)]
    hub = Hub(endpoint, absent=absent)
    hub.fetch([(part, part.configs(hub.offers(part))) for part in absent])
    preset = plan.preset or _named(read_preset(plan.base.folder), plan.base)
    _check(plan, preset.name, hub, absent)
    half = half and preset.dtype != "fp32"
    hub.fetch([(part, part.weights(hub.offers(part), half=half)) for part in absent])
    for part in absent:
        _convert_pickles(part)
    return ModelFiles(
        preset=_as_asked(preset, plan, [*controlnets], [*loras]),
        directory=plan.base.folder,
        vae=plan.vae.folder if plan.vae else plan.base.folder / plan.base.vae,
        controlnets={control.kind: part.folder for control, part in plan.controls},
        loras={name: part.path() for name, part in plan.loras.items()},
    )


def check_names(
    name_or_directory: str | Path, *, controlnets: Sequence[str] = (), loras: Sequence[str] = (), vae: str | None = None
) -> None:
    """Raise at once what ``locate`` would for names that nothing can be behind. Fetches and loads nothing."""
    _plan(name_or_directory, controlnets, loras, vae)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What a model is put together from. ``preset``: None while only its configuration, not yet here, can tell."""

    preset: Preset | None
    base: Base
    vae: Network | None
    controls: Sequence[tuple[Control, Network]]
    loras: Mapping[str, Adapter]

    def parts(self) -> list[Part]:
        """Each once: kinds may share a network."""
        found: list[Part] = [self.base, *([self.vae] if self.vae else []), *(n for _, n in self.controls)]
        return list(dict.fromkeys([*found, *self.loras.values()]))


def is_here(preset: Preset) -> bool:
    """Whether all files of a preset are on this machine."""
    try:
        plan = _plan(preset.name, (), (), None)
    except CheckpointError:
        return False
    return all(part.is_here() for part in plan.parts())


def _is_here(part: Part) -> bool:
    """Brought by hand it may be pickled still."""
    if not part.is_here():
        _convert_pickles(part)
    return part.is_here()


def _convert_pickles(part: Part) -> None:
    for file, target in pickles(part.folder):
        from pipelines.unpickle import to_safetensors  # with torch, for which a list of models doesn't wait

        to_safetensors(file, target)


def _plan(name: str | Path, controlnets: Sequence[str], loras: Sequence[str], vae: str | None) -> Plan:
    preset, base = _base(name)
    if vae and not _is_folder_of(base, vae):
        decoder: Network | None = _network(vae)
        base = dataclasses.replace(base, vae="")
    else:
        decoder = None
        base = dataclasses.replace(base, vae=vae or "vae")
    known = preset or (read_preset(base.folder) if not base.repo else None)
    networks = {control.kind: (control, _control_part(base, control)) for control in (known.controls if known else ())}
    for given, where in _pairs("--controlnet", controlnets):
        kind = next((each for each in KINDS if each == given), None)
        if kind is None:
            raise MisfitError(f"--controlnet {given}={where}: there is no kind {given!r}; it is {', '.join(KINDS)}.")
        part = _network(where)
        control = Control(kind=kind, folder=str(part.folder), repo=part.repo, polarity=known_polarity(part.repo))
        networks[kind] = (control, part)
    own = known.loras if known else ()
    adapters = {lora.name: Adapter(folder=repository_folder(lora.repo), repo=lora.repo) for lora in own}
    for label, where in _pairs("--lora", loras):
        adapters[label] = _adapter(where)
    return Plan(preset=known, base=base, vae=decoder, controls=list(networks.values()), loras=adapters)


def _base(name: str | Path) -> tuple[Preset | None, Base]:
    text = str(name)
    if (preset := find_preset(text)) and preset.repo:
        return preset, Base(folder=repository_folder(preset.repo), repo=preset.repo)
    try:
        return None, Base(folder=find_model(name))
    except NoSuchModel:
        if not is_repository(text):
            raise
    return None, Base(folder=repository_folder(text), repo=text)


def _is_folder_of(base: Base, vae: str) -> bool:
    """A bare name is one of the model's folders; anything else is a path or a repository."""
    return Path(vae).name == vae and (bool(base.repo) or (base.folder / vae).is_dir() or not Path(vae).exists())


def _control_part(base: Base, control: Control) -> Network:
    if control.repo:
        return Network(folder=repository_folder(control.repo), repo=control.repo)
    return Network(folder=base.folder / control.folder)


def _network(where: str) -> Network:
    folder, repo = _place(where)
    return Network(folder=folder, repo=repo)


def _adapter(where: str) -> Adapter:
    folder, repo = _place(where)
    return Adapter(folder=folder, repo=repo)


def _place(where: str) -> tuple[Path, str]:
    """A path that exists, or a repository and its folder."""
    path = Path(where).expanduser()
    if path.exists():
        return path, ""
    if is_repository(where):
        return repository_folder(where), where
    raise NoSuchModel(f"{where!r} is neither a file or directory here nor OWNER/NAME of a repository.")


def _pairs(option: str, values: Sequence[str]) -> list[tuple[str, str]]:
    pairs = [value.partition("=") for value in values]
    for value, (name, _, where) in zip(values, pairs, strict=True):
        if not (name and where):
            raise MisfitError(f"{option} {value!r} is not NAME=REPO_OR_PATH.")
    return [(name, where) for name, _, where in pairs]


def _check(plan: Plan, name: str, hub: Hub, absent: Sequence[Part]) -> None:
    compatible.check(
        name,
        plan.base.folder,
        vae=plan.vae.folder if plan.vae else plan.base.folder / plan.base.vae,
        controlnets={part.repo or str(part.folder): part.folder for _, part in plan.controls},
        loras={
            part.repo or str(part.folder): shapes
            for part in plan.loras.values()
            if (shapes := _shapes(part, hub, part in absent)) is not None
        },
    )


def _shapes(part: Adapter, hub: Hub, absent: bool) -> Mapping[str, Sequence[int]] | None:
    """None of a pickle, which tells them only when it is here; ``pipelines.lora`` looks at them then."""
    if absent:
        (name,) = part.weights(hub.offers(part), half=False)
        return hub.tensor_shapes(part, name) if name.endswith(".safetensors") else None
    path = part.path()
    file = path / "adapter_model.safetensors" if path.is_dir() else path
    try:
        with safe_open(str(file), framework="np") as opened:
            names = opened.keys()
            return {name: opened.get_slice(name).get_shape() for name in names}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file} is broken ({error}); fetch the file again.") from None


def _named(preset: Preset, base: Base) -> Preset:
    return dataclasses.replace(preset, name=base.repo) if base.repo else preset


def _as_asked(preset: Preset, plan: Plan, controlnets: Sequence[str], loras: Sequence[str]) -> Preset:
    """The preset with the controls that the model really has, starting with what was asked for on top of its own."""
    controls = tuple(control for control, _ in plan.controls)
    kinds = [control.kind for control in controls]
    patch: dict[str, object] = {}
    if preset.defaults.control not in kinds:
        added = [kind for kind, _ in _pairs("--controlnet", controlnets)]
        patch |= {"control": (*added, "none")[0], "extra_controls": {}}
    if loras:
        patch |= {"lora": _pairs("--lora", loras)[0][0]}
    return dataclasses.replace(preset, controls=controls, defaults=preset.defaults.replace(patch))
