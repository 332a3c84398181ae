"""Load a model directory in the diffusers layout: safetensors only, checked against the configuration.

The layout is diffusers' own: ``model_index.json`` names each component's class, each component has a folder with its
``config.json`` and weights. ControlNets and the decoder may lie elsewhere: ``ModelFiles`` says where.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from pipelines import layout
from pipelines.errors import CheckpointError
from pipelines.files import ModelFiles
from pipelines.prompt import load_tokenizer
from pipelines.reading import read_json
from pipelines.settings import Kind

#: How diffusers and transformers name their weights; published models have one or both of these forms.
_SUFFIXES = (".safetensors", ".fp16.safetensors")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The parts of one model, in evaluation mode on the CPU. ``scheduler`` is the content of its config file.

    ``text_encoders`` and ``tokenizers``: one of each (SD 1.x, 2.x) or two (SDXL). ``controlnets``: by kind; kinds of
    one folder share one network.
    """

    # diffusers' and transformers' models, whose ``config`` isn't typed.
    unet: Any
    vae: Any
    text_encoders: Sequence[Any]
    tokenizers: Sequence[Any]
    scheduler: Mapping[str, Any]
    controlnets: Mapping[Kind, Any] = dataclasses.field(default_factory=dict)


def load_checkpoint(files: ModelFiles, *, dtype: torch.dtype = torch.float32) -> Checkpoint:
    """Load all parts. Raises CheckpointError, naming the file, and the tensor where it is one that doesn't fit."""
    directory = files.directory
    index = read_json(directory / "model_index.json")
    texts = [""] if not _names(index, "text_encoder_2") else ["", "_2"]
    networks = {
        folder: _load_component(folder, "ControlNetModel", dtype)
        for folder in dict.fromkeys(files.controlnets.values())
    }
    return Checkpoint(
        unet=_load_component(directory / "unet", _class_of(index, "unet", directory), dtype),
        vae=_load_component(files.vae, _vae_class(index, files), dtype),
        text_encoders=[
            _load_component(directory / f"text_encoder{nth}", _class_of(index, f"text_encoder{nth}", directory), dtype)
            for nth in texts
        ],
        tokenizers=[load_tokenizer(directory / f"tokenizer{nth}") for nth in texts],
        scheduler=read_json(directory / "scheduler" / "scheduler_config.json"),
        controlnets={kind: networks[folder] for kind, folder in files.controlnets.items()},
    )


def _names(index: Mapping[str, Any], name: str) -> bool:
    entry = index.get(name)
    return isinstance(entry, list) and len(entry) == 2 and bool(entry[1])


def _vae_class(index: Mapping[str, Any], files: ModelFiles) -> str:
    """Another decoder than the model's own says itself what it is."""
    if files.vae == files.directory / "vae":
        return _class_of(index, "vae", files.directory)
    return str(read_json(files.vae / "config.json").get("_class_name", ""))


def _class_of(index: Mapping[str, Any], name: str, directory: Path) -> str:
    if not _names(index, name):
        raise CheckpointError(f"{directory / 'model_index.json'} names no {name}; this is not a one-step pipeline.")
    return str(index[name][1])


def _load_component(folder: Path, class_name: str, dtype: torch.dtype) -> Any:
    # The index has the last word on the class: some published configurations name another one, or none.
    config = {**read_json(folder / "config.json"), "_class_name": class_name}
    module = _build(folder, config)
    state = _read_state(_weights_file(folder, class_name), module, dtype)
    module.load_state_dict(state, strict=True, assign=True)
    _materialise_buffers(module, config)
    return module.eval().requires_grad_(False)


def _build(folder: Path, config: dict[str, Any]) -> nn.Module:
    """The module without its weights, on the meta device."""
    try:
        module: nn.Module = layout.build(config)
    except CheckpointError as error:
        raise CheckpointError(f"{folder}: {error}") from None
    except Exception as error:  # whatever a class makes of a wrong configuration, the file is to blame
        raise CheckpointError(
            f"{folder / 'config.json'} describes no {config['_class_name']} that can be built: {error}"
        ) from None
    return module


def _weights_file(folder: Path, class_name: str) -> Path:
    stem = "model" if class_name.startswith("CLIP") else "diffusion_pytorch_model"
    candidates = [folder / f"{stem}{suffix}" for suffix in _SUFFIXES]
    for file in candidates:
        if file.is_file():
            return file
    if any(folder.glob("*.bin")) or any(folder.glob("*.pt")) or any(folder.glob("*.ckpt")):
        raise CheckpointError(
            f"{folder} has pickled weights only, which can run code when opened; save them as safetensors "
            "(diffusers: save_pretrained(..., safe_serialization=True))."
        )
    raise CheckpointError(f"{candidates[0]} is missing; put the weights there.")


def _read_state(path: Path, module: nn.Module, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Tensors by the module's own names, converted to ``dtype``. Shapes are compared before anything is read."""
    wanted = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    try:
        with safe_open(str(path), framework="pt", device="cpu") as file:
            names = _match_names(set(file.keys()), set(wanted), path)
            for name, stored in names.items():
                found = tuple(file.get_slice(stored).get_shape())
                if found != wanted[name]:
                    raise CheckpointError(
                        f"{path}: tensor {stored!r} has shape {list(found)}, but config.json asks for "
                        f"{list(wanted[name])}; the two files are not of one model."
                    )
            return {name: file.get_tensor(stored).to(dtype) for name, stored in names.items()}
    except SafetensorError as error:
        raise CheckpointError(f"{path} is broken ({error}); fetch the file again.") from None
    except OSError as error:
        raise CheckpointError(f"{path} can't be read: {error}.") from None


def _match_names(stored: set[str], wanted: set[str], path: Path) -> dict[str, str]:
    """Wanted name → stored name. transformers 5 dropped the prefix ``text_model.`` that published files carry."""
    names = {}
    for name in sorted(wanted):
        candidates = (name, f"text_model.{name}", name.removeprefix("text_model."), _old_name(name))
        match = next((candidate for candidate in candidates if candidate in stored), None)
        if match is None:
            raise CheckpointError(f"{path}: tensor {name!r} is missing; the file is not of the model in config.json.")
        names[name] = match
    # Old checkpoints carry the constant position ids; any other stranger means another architecture.
    strangers = sorted(key for key in stored - set(names.values()) if not key.endswith("position_ids"))
    if strangers:
        raise CheckpointError(f"{path}: tensor {strangers[0]!r} has no place in the model that config.json describes.")
    return names


def _old_name(name: str) -> str:
    """How the attention of autoencoders was named in files from before diffusers 0.12."""
    for new, old in ((".to_q.", ".query."), (".to_k.", ".key."), (".to_v.", ".value."), (".to_out.0.", ".proj_attn.")):
        name = name.replace(new, old)
    return name


def _materialise_buffers(module: nn.Module, config: dict[str, Any]) -> None:
    """Buffers that are not saved (position ids) are still on the meta device: take them from a freshly made twin."""
    if not any(buffer.is_meta for buffer in module.buffers()):
        return
    twin = dict(layout.make(config).named_buffers())
    for name, buffer in list(module.named_buffers()):
        if buffer.is_meta:
            owner, _, leaf = name.rpartition(".")
            module.get_submodule(owner).register_buffer(leaf, twin[name], persistent=False)
