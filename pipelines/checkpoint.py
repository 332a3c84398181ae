"""Load a model directory in the diffusers layout: safetensors only, checked against the configuration.

The layout is diffusers' own: ``model_index.json`` names each component's class, each component has a folder with its
``config.json`` and weights. A ControlNet may sit in the folder ``controlnet`` or in a directory of its own.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from pipelines.errors import CheckpointError
from pipelines.prompt import load_tokenizer

#: How diffusers and transformers name their weights; published models have one or both of these forms.
_SUFFIXES = (".safetensors", ".fp16.safetensors")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The parts of one model, in evaluation mode on the CPU. ``scheduler`` is the content of its config file."""

    # diffusers' and transformers' models, whose ``config`` isn't typed.
    unet: Any
    vae: Any
    text_encoder: Any
    tokenizer: Any
    scheduler: Mapping[str, Any]
    controlnet: Any = None


def load_checkpoint(
    directory: Path, *, controlnet: Path | None = None, dtype: torch.dtype = torch.float32
) -> Checkpoint:
    """Load all parts. ``controlnet``: a directory of its own; by default the folder ``controlnet`` where there is one.

    Raises CheckpointError, naming the file, and the tensor where it is one that doesn't fit.
    """
    index = read_json(directory / "model_index.json")
    beside = controlnet or (directory / "controlnet" if (directory / "controlnet").is_dir() else None)
    part = {
        name: _load_component(directory / name, _class_of(index, name, directory), dtype)
        for name in ("unet", "vae", "text_encoder")
    }
    return Checkpoint(
        **part,
        tokenizer=load_tokenizer(directory / "tokenizer"),
        scheduler=read_json(directory / "scheduler" / "scheduler_config.json"),
        controlnet=_load_component(beside, "ControlNetModel", dtype) if beside else None,
    )


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file. Raises CheckpointError naming the file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing; a model directory needs it (the diffusers layout).") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} can't be read as JSON ({error}); fetch the file again.") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds no JSON object; fetch the file again.")
    return content


def _class_of(index: Mapping[str, Any], name: str, directory: Path) -> str:
    entry = index.get(name)
    if not (isinstance(entry, list) and len(entry) == 2 and entry[1]):
        raise CheckpointError(f"{directory / 'model_index.json'} names no {name}; this is not a one-step pipeline.")
    return str(entry[1])


def _load_component(folder: Path, class_name: str, dtype: torch.dtype) -> Any:
    config = read_json(folder / "config.json")
    module = _build(folder, class_name, config)
    state = _read_state(_weights_file(folder, class_name), module, dtype)
    module.load_state_dict(state, strict=True, assign=True)
    _materialise_buffers(module, lambda: _builders()[class_name](config))
    return module.eval().requires_grad_(False)


def _build(folder: Path, class_name: str, config: dict[str, Any]) -> nn.Module:
    """The module without its weights, on the meta device."""
    build = _builders().get(class_name)
    if build is None:
        known = ", ".join(sorted(_builders()))
        raise CheckpointError(f"{folder} is a {class_name!r}, which this tool can't run; it runs {known}.")
    try:
        with torch.device("meta"):
            return build(config)
    except Exception as error:  # whatever a class makes of a wrong configuration, the file is to blame
        raise CheckpointError(
            f"{folder / 'config.json'} describes no {class_name} that can be built: {error}"
        ) from None


def _builders() -> Mapping[str, Callable[[dict[str, Any]], nn.Module]]:
    # Imported here: diffusers and transformers take seconds, and reading a JSON file must not wait for them.
    from diffusers.models import AutoencoderKL, AutoencoderTiny, ControlNetModel, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    return {
        "UNet2DConditionModel": UNet2DConditionModel.from_config,
        "ControlNetModel": ControlNetModel.from_config,
        # diffusers writes this key into the file and then warns that it doesn't know it.
        "AutoencoderTiny": lambda config: AutoencoderTiny.from_config(
            {key: value for key, value in config.items() if key != "block_out_channels"}
        ),
        "AutoencoderKL": AutoencoderKL.from_config,
        "CLIPTextModel": lambda config: CLIPTextModel(CLIPTextConfig(**config)),
    }


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
        candidates = (name, f"text_model.{name}", name.removeprefix("text_model."))
        match = next((candidate for candidate in candidates if candidate in stored), None)
        if match is None:
            raise CheckpointError(f"{path}: tensor {name!r} is missing; the file is not of the model in config.json.")
        names[name] = match
    # Old checkpoints carry the constant position ids; any other stranger means another architecture.
    strangers = sorted(key for key in stored - set(names.values()) if not key.endswith("position_ids"))
    if strangers:
        raise CheckpointError(f"{path}: tensor {strangers[0]!r} has no place in the model that config.json describes.")
    return names


def _materialise_buffers(module: nn.Module, build: Callable[[], nn.Module]) -> None:
    """Buffers that are not saved (position ids) are still on the meta device: take them from a freshly built twin."""
    if not any(buffer.is_meta for buffer in module.buffers()):
        return
    twin = dict(build().named_buffers())
    for name, buffer in list(module.named_buffers()):
        if buffer.is_meta:
            owner, _, leaf = name.rpartition(".")
            module.get_submodule(owner).register_buffer(leaf, twin[name], persistent=False)


def count_parameters(folder: Path) -> int:
    """Parameters of what ``folder/config.json`` describes, counted on the meta device: no weights needed."""
    config = read_json(folder / "config.json")
    module = _build(folder, str(config.get("_class_name", "")), config)
    return sum(parameter.numel() for parameter in module.parameters())
