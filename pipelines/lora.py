"""LoRA (arXiv 2106.09685): a style as a low-rank change of the U-Net's weights, folded in and taken out in place.

Folded, an adapter costs nothing per frame; in place, whatever holds on to the weights (a running stream, a captured
CUDA graph) sees the change.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from pipelines.errors import CheckpointError, MisfitError
from pipelines.reading import read_json

_DOWN, _UP = ".lora_A.weight", ".lora_B.weight"
_PEFT_PREFIX = "base_model.model."


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LowRank:
    """ΔW = ``scale`` · ``up`` · ``down`` for one layer; ``down`` r×in (or r×in×k×k), ``up`` out×r (or out×r×1×1)."""

    down: Tensor
    up: Tensor
    scale: float

    def delta(self, like: Tensor) -> Tensor:
        """ΔW in the shape, type and place of a weight; multiplied in float32."""
        down, up = (factor.to(like.device, torch.float32).flatten(1) for factor in (self.down, self.up))
        return (self.scale * (up @ down)).view_as(like)


Adapter = Mapping[str, LowRank]


class LoraSwitch:
    """The adapters of one U-Net, of which one at a time is folded into its weights. One thread owns it."""

    def __init__(self, unet: nn.Module, adapters: Mapping[str, Adapter]) -> None:
        self._weights = {f"{name}.weight": module for name, module in unet.named_modules()}
        self._adapters = adapters
        self._originals: dict[str, Tensor] = {}
        self.state: tuple[str, float] = ("", 0.0)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._adapters)

    @torch.inference_mode()
    def use(self, name: str, scale: float) -> bool:
        """Fold in adapter ``name`` (empty for none) at ``scale``. True when weights changed. Raises MisfitError."""
        wanted = (name, scale) if name and scale else ("", 0.0)
        if wanted == self.state:
            return False
        if wanted[0] and wanted[0] not in self._adapters:
            raise MisfitError(f"There is no LoRA {name!r} here; there are {', '.join(self._adapters) or 'none'}.")
        self._restore()
        for layer, change in (self._adapters[wanted[0]] if wanted[0] else {}).items():
            weight: Any = self._weights[f"{layer}.weight"].weight
            # The original is kept, as taking a rounded change out again would leave a trace in half precision.
            self._originals[layer] = weight.detach().clone()
            weight.copy_(weight.float() + wanted[1] * change.delta(weight))
        self.state = wanted
        return True

    def _restore(self) -> None:
        for layer, original in self._originals.items():
            weight: Any = self._weights[f"{layer}.weight"].weight
            weight.copy_(original)
        self._originals.clear()


def load_lora(path: Path, unet: Any) -> Adapter:
    """A PEFT folder or a ``.safetensors`` file (diffusers' or kohya's names), checked against the U-Net's layers.

    Raises CheckpointError for a file that can't be read and MisfitError, naming the layer, for one of another model.
    """
    adapter = _read_peft(path) if path.is_dir() else _read_file(path, unet)
    if not adapter:
        raise CheckpointError(f"{path} changes no layer of a U-Net; it is no LoRA for this kind of model.")
    layers = dict(unet.named_modules())
    for name, change in adapter.items():
        weight = getattr(layers.get(name), "weight", None)
        if weight is None:
            raise MisfitError(f"{path} is a LoRA of another model: this U-Net has no layer {name!r}.")
        rows, columns = change.up.shape[0], change.down.flatten(1).shape[1]
        if (rows, columns) != tuple(weight.flatten(1).shape):
            raise MisfitError(
                f"{path} is a LoRA of another model: its change of {name!r} is {rows}×{columns}, the layer "
                f"{weight.shape[0]}×{weight[0].numel()}."
            )
    return adapter


def _read_peft(folder: Path) -> Adapter:
    config = read_json(folder / "adapter_config.json")
    for option in ("use_dora", "alpha_pattern", "rank_pattern", "modules_to_save"):
        if config.get(option):
            raise CheckpointError(f"{folder / 'adapter_config.json'}: {option} is not supported; give a plain LoRA.")
    rank, alpha = int(config.get("r", 8)), float(config.get("lora_alpha", 8))
    scale = alpha / rank**0.5 if config.get("use_rslora") else alpha / rank
    state = {
        key.removeprefix(_PEFT_PREFIX): value for key, value in _load(folder / "adapter_model.safetensors").items()
    }
    return _pair(state, {}, scale)


def _read_file(path: Path, unet: Any) -> Adapter:
    """diffusers itself knows the many ways in which such files name their layers."""
    from diffusers.loaders import StableDiffusionLoraLoaderMixin
    from diffusers.utils import convert_unet_state_dict_to_peft

    state: dict[str, Tensor]
    try:
        state, alphas = StableDiffusionLoraLoaderMixin.lora_state_dict(_load(path), unet_config=unet.config)
    except (ValueError, KeyError) as error:
        raise CheckpointError(f"{path} is no LoRA that can be read: {error}") from None
    # What such a file changes in the text encoder is left out: prompts are encoded once, for all styles.
    ours = {key.removeprefix("unet."): value for key, value in state.items() if key.startswith("unet.")}
    scales = {key.removeprefix("unet."): value for key, value in (alphas or {}).items() if key.startswith("unet.")}
    return _pair(
        convert_unet_state_dict_to_peft(ours),
        # An alpha is named after its layer, or after the layer's first factor.
        convert_unet_state_dict_to_peft({key.removesuffix(".alpha"): value for key, value in scales.items()}),
        None,
    )


def _pair(state: Mapping[str, Tensor], alphas: Mapping[str, Any], scale: float | None) -> Adapter:
    """The layers that have both factors. ``scale``: of all of them; None takes each one's alpha over its rank."""
    layers = {key.removesuffix(_DOWN): down for key, down in state.items() if key.endswith(_DOWN)}
    adapter: dict[str, LowRank] = {}
    for layer, down in layers.items():
        alpha = float(alphas.get(layer, alphas.get(layer + _DOWN, down.shape[0])))
        if layer + _UP not in state:
            raise CheckpointError(f"The LoRA has only half of its change of {layer!r}; fetch the file again.")
        own = alpha / down.shape[0] if scale is None else scale
        adapter[layer] = LowRank(down=down, up=state[layer + _UP], scale=own)
    return adapter


def _load(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing; put the LoRA's weights there (safetensors).") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is broken ({error}); fetch the file again.") from None
