"""The parts a model is put together from, each in a folder of its own, and the files that each of them needs.

Of the two forms that weights are published in, plain and half precision, one is enough. Pickled ones are taken only
from a repository that has no others, and are turned into safetensors before anything reads them
(``pipelines.unpickle``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path
from typing import Protocol

from pipelines.errors import CheckpointError, MisfitError
from pipelines.reading import read_json

_TOKENIZER = ("tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json")
#: What the same weights are called where they are pickled.
_PICKLED = {
    "diffusion_pytorch_model": "diffusion_pytorch_model.bin",
    "model": "pytorch_model.bin",
    "adapter_model": "adapter_model.bin",
}
_PEFT = "adapter_model.safetensors"


class Part(Protocol):
    """``folder``: where it is or will be. ``repo``: OWNER/NAME it can be fetched from; empty for a plain directory.

    ``offered``: the names of all files that the repository has.
    """

    @property
    def folder(self) -> Path: ...

    @property
    def repo(self) -> str: ...

    @property
    def wanted(self) -> str:
        """Its files, in words."""

    def is_here(self) -> bool:
        """Whether all of them are in the folder."""

    def configs(self, offered: Collection[str]) -> list[str]:
        """The small files to take. Raises MisfitError if it is no such part."""

    def weights(self, offered: Collection[str], *, half: bool) -> list[str]:
        """The files with weights to take. Raises CheckpointError if there are none that can be taken."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Base:
    """A pipeline in the diffusers layout. ``vae``: which of its folders the decoder is in; empty for none of them."""

    folder: Path
    repo: str = ""
    vae: str = "vae"

    @property
    def wanted(self) -> str:
        folders = ["scheduler", "tokenizer", "text_encoder", "unet", *([self.vae] if self.vae else [])]
        return f"model_index.json and the folders {', '.join(folders)} (JSON, text and safetensors files)"

    def is_here(self) -> bool:
        try:
            texts = text_encoders(self.folder)
        except CheckpointError:
            return False
        networks = ["unet", *texts, *([self.vae] if self.vae else [])]
        return (
            all(_has_config(self.folder / name) and find_weights(self.folder / name) for name in networks)
            and all(_has_tokenizer(self.folder / name.replace("text_encoder", "tokenizer")) for name in texts)
            and (self.folder / "scheduler" / "scheduler_config.json").is_file()
        )

    def configs(self, offered: Collection[str]) -> list[str]:
        if "model_index.json" not in offered:
            raise MisfitError(f"{self.repo} is no pipeline in the diffusers layout: it has no model_index.json.")
        if self.vae and f"{self.vae}/config.json" not in offered:
            raise MisfitError(f"{self.repo} has no decoder {self.vae!r}; leave --vae out for its own.")
        networks = ["unet", self.vae, "text_encoder", "text_encoder_2"]
        candidates = [
            "model_index.json",
            "scheduler/scheduler_config.json",
            *(f"{name}/config.json" for name in networks),
            *(f"{name}/{file}" for name in ("tokenizer", "tokenizer_2") for file in _TOKENIZER),
        ]
        return [name for name in candidates if name in offered]

    def weights(self, offered: Collection[str], *, half: bool) -> list[str]:
        networks = ["unet", *([self.vae] if self.vae else []), *text_encoders(self.folder)]
        return [
            _choose(self.repo, f"{name}/{_stem(name)}", offered, half=half)
            for name in networks
            if not find_weights(self.folder / name)
        ]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Network:
    """One network of diffusers: a ControlNet, or a decoder."""

    folder: Path
    repo: str = ""

    @property
    def wanted(self) -> str:
        return "config.json and diffusion_pytorch_model.safetensors (or .bin)"

    def is_here(self) -> bool:
        return _has_config(self.folder) and find_weights(self.folder) is not None

    def configs(self, offered: Collection[str]) -> list[str]:
        if "config.json" not in offered:
            raise MisfitError(f"{self.repo} is no network in the diffusers layout: it has no config.json.")
        return ["config.json"]

    def weights(self, offered: Collection[str], *, half: bool) -> list[str]:
        return [] if find_weights(self.folder) else [_choose(self.repo, _stem(""), offered, half=half)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adapter:
    """A LoRA: a PEFT folder, or one file of safetensors."""

    folder: Path
    repo: str = ""

    @property
    def wanted(self) -> str:
        return "adapter_config.json and adapter_model.safetensors (or .bin; PEFT), or its one .safetensors file"

    def is_here(self) -> bool:
        peft = all((self.folder / name).is_file() for name in (_PEFT, "adapter_config.json"))
        return peft or self._file() is not None

    def configs(self, offered: Collection[str]) -> list[str]:
        return [name for name in ("adapter_config.json",) if name in offered]

    def weights(self, offered: Collection[str], *, half: bool) -> list[str]:
        """Raises MisfitError when it has none, or several and no telling which."""
        found = [name for name in offered if "/" not in name and name.endswith(".safetensors")]
        for usual in (_PEFT, "pytorch_lora_weights.safetensors"):
            if usual in found:
                return [usual]
        if not found and _PICKLED["adapter_model"] in offered:
            return [_PICKLED["adapter_model"]]
        if len(found) != 1:
            raise MisfitError(
                f"{self.repo} has {len(found) or 'no'} .safetensors files, so it is not clear what its LoRA is; "
                "download the one you want and give its path."
            )
        return found

    def path(self) -> Path:
        """What holds it: the folder of a PEFT adapter, or the file. Raises CheckpointError if neither is there."""
        if self.folder.is_file() or (self.folder / _PEFT).is_file():
            return self.folder
        if file := self._file():
            return file
        raise CheckpointError(f"{self.folder} holds no LoRA; it takes {self.wanted}.")

    def _file(self) -> Path | None:
        if self.folder.is_file():
            return self.folder
        found = sorted(file for file in self.folder.glob("*.safetensors") if file.name != _PEFT)
        return found[0] if len(found) == 1 else None


def text_encoders(folder: Path) -> list[str]:
    """Which text encoders a pipeline has: one, or two (SDXL)."""
    index = read_json(folder / "model_index.json")
    second = index.get("text_encoder_2")
    return ["text_encoder", *(["text_encoder_2"] if isinstance(second, list) and second[-1] else [])]


def find_weights(folder: Path) -> Path | None:
    """The safetensors file of a component's folder; None when there is none."""
    names = [f"{_stem(folder.name)}{suffix}" for suffix in (".safetensors", ".fp16.safetensors")]
    return next((folder / name for name in names if (folder / name).is_file()), None)


def pickles(folder: Path) -> list[tuple[Path, Path]]:
    """Pickled weights in a part's folder that are not there as safetensors, and what they are called as such."""
    places = [folder, *(each for each in folder.glob("*") if each.is_dir())]
    pairs = [(each / name, each / f"{stem}.safetensors") for each in places for stem, name in _PICKLED.items()]
    return [
        (file, target)
        for file, target in pairs
        if file.is_file() and not target.is_file() and find_weights(file.parent) is None
    ]


def _stem(component: str) -> str:
    return "model" if component.startswith("text_encoder") else "diffusion_pytorch_model"


def _choose(repo: str, stem: str, offered: Collection[str], *, half: bool) -> str:
    forms = [f"{stem}.safetensors", f"{stem}.fp16.safetensors"]
    for name in reversed(forms) if half else forms:
        if name in offered:
            return name
    if f"{stem}.safetensors.index.json" in offered:
        raise CheckpointError(f"{repo} has {stem} in several pieces, which this tool doesn't put together.")
    folder, _, name = stem.rpartition("/")
    pickled = f"{folder}/{_PICKLED[name]}" if folder else _PICKLED[name]
    if pickled in offered:
        return pickled
    raise CheckpointError(f"{repo} has no {forms[0]}, so it is no model that this tool can load.")


def _has_config(folder: Path) -> bool:
    return (folder / "config.json").is_file()


def _has_tokenizer(folder: Path) -> bool:
    return (folder / "tokenizer.json").is_file() or all((folder / n).is_file() for n in ("vocab.json", "merges.txt"))
