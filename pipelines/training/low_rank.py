"""A LoRA (arXiv 2106.09685) in training: peft's layers inside a U-Net, and what becomes of them on disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from safetensors.torch import save_file
from torch import Tensor, nn

from pipelines.errors import TrainingError
from pipelines.lora import Adapter, LowRank
from pipelines.training.phase import Weights

_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
_CONVOLUTIONS = ("conv1", "conv2")
_NAME = "default"  # peft's own for an adapter


class TrainedLora:
    """A LoRA of that ``rank`` put into ``unet``, which stays what it was until ``factors`` are trained.

    ``factors``: the two matrices of each layer and nothing else, to be registered by who trains them.
    Raises TrainingError for a U-Net that has no such layer.
    """

    def __init__(self, unet: Any, rank: int, *, convolutions: bool = False) -> None:
        targets = [*_ATTENTION, *(_CONVOLUTIONS if convolutions else ())]
        self.config = LoraConfig(r=rank, lora_alpha=rank, target_modules=targets)
        try:
            unet.add_adapter(self.config)
        except ValueError as error:
            raise TrainingError(f"The U-Net has no layer for a LoRA: {error}") from None
        self._unet = unet
        self._layers = {name: each for name, each in unet.named_modules() if isinstance(each, LoraLayer)}
        self.factors = nn.ModuleDict(
            {
                # A dot would be a path.
                name.replace(".", "/"): nn.ModuleDict({"A": each.lora_A[_NAME], "B": each.lora_B[_NAME]})
                for name, each in self._layers.items()
            }
        )

    @contextmanager
    def switched_off(self) -> Iterator[None]:
        """Inside, the U-Net is what it was."""
        for layer in self._layers.values():
            layer.set_scale(_NAME, 0.0)
        try:
            yield
        finally:
            for layer in self._layers.values():
                layer.set_scale(_NAME, 1.0)

    def adapter(self, weights: Weights) -> Adapter:
        """The change of each layer; ``weights``: a state of ``factors``."""
        return {
            name: LowRank(
                down=weights[f"{name.replace('.', '/')}.A.weight"],
                up=weights[f"{name.replace('.', '/')}.B.weight"],
                scale=1.0,
            )
            for name in self._layers
        }

    def merged(self, weights: Weights) -> dict[str, Tensor]:
        """The U-Net's state by its own names, on the CPU, the changes of ``adapter`` in it."""
        changes = self.adapter(weights)
        state: dict[str, Tensor] = {}
        for stored, value in self._unet.state_dict().items():
            if ".lora_" in stored:
                continue
            name = stored.replace(".base_layer.", ".")
            state[name] = value.detach().cpu()
            change = changes.get(name.removesuffix(".weight"))
            if change is not None and name.endswith(".weight"):
                state[name] = state[name] + change.delta(state[name])
        return state

    def save(self, folder: Path, weights: Weights) -> None:
        """As peft lays adapters out: what ``--lora`` and peft itself load."""
        folder.mkdir(parents=True, exist_ok=True)
        self.config.save_pretrained(str(folder))
        stored: Mapping[str, Tensor] = {
            f"base_model.model.{name}.lora_{side}.weight": factor.contiguous()
            for name, change in self.adapter(weights).items()
            for side, factor in (("A", change.down), ("B", change.up))
        }
        save_file(dict(stored), folder / "adapter_model.safetensors", metadata={"format": "pt"})
