"""Networks of pictures whose features may be matched instead of the U-Net's own: a VGG-16 and a DINOv2.

Their weights are read from local files: nothing is fetched.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from pipelines.errors import TrainingError
from pipelines.training.losses.feature_matching import Features, UNetEncoder
from pipelines.training.model import Model, Words

#: ImageNet's, which both networks were trained with.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
#: After the last activation of each of VGG-16's five stages, as LPIPS and DISTS look at them.
VGG_LAYERS = (3, 8, 15, 22, 29)
KNOWN = "unet, vgg:FILE (torchvision's VGG-16 weights) or dinov2:DIRECTORY (as transformers saves one)"


def open_features(spec: str, model: Model) -> Features:
    """What ``spec`` names: the encoder of ``model``'s U-Net, or a network that sees what its decoder paints.

    Raises TrainingError, in one sentence, for a name that isn't known and for weights that can't be read.
    """
    kind, _, where = spec.partition(":")
    if kind == "unet" and not where:
        return UNetEncoder(model)
    if kind == "vgg" and where:
        return PictureNetwork(model, _vgg(Path(where)))
    if kind == "dinov2" and where:
        return PictureNetwork(model, _dinov2(Path(where)))
    raise TrainingError(f"The features {spec!r} are not known; use {KNOWN}.")


class PictureNetwork:
    """Looks at decoded pictures: noise, timestep and prompts are not asked for."""

    def __init__(self, model: Model, network: nn.Module) -> None:
        self._model, self._network = model, network.requires_grad_(False).eval()

    def __call__(self, latents: Tensor, noise: Tensor, t: Tensor, words: Words) -> Sequence[Tensor]:
        """See ``Features``."""
        picture = (self._model.decode(latents) + 1) / 2
        mean, std = (picture.new_tensor(each).view(3, 1, 1) for each in (MEAN, STD))
        maps: Sequence[Tensor] = self._network((picture - mean) / std)
        return maps

    def to(self, device: Any) -> PictureNetwork:
        """See ``Features``."""
        self._network.to(device)
        return self


class _Stages(nn.Module):
    """A chain of layers that gives what some of them answer."""

    def __init__(self, layers: nn.Sequential, wanted: Sequence[int]) -> None:
        super().__init__()
        self.layers, self._wanted = layers[: max(wanted) + 1], frozenset(wanted)

    def forward(self, picture: Tensor) -> list[Tensor]:
        found = []
        for number, layer in enumerate(self.layers):
            picture = layer(picture)
            if number in self._wanted:
                found.append(picture)
        return found


class _Patches(nn.Module):
    """A vision transformer's patches after each quarter of its layers, as maps."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        layers = int(network.config.num_hidden_layers)
        self._wanted = sorted({-(-layers * quarter // 4) for quarter in range(1, 5)})

    def forward(self, picture: Tensor) -> list[Tensor]:
        patch = int(self.network.config.patch_size)
        rows, columns = (max(round(side / patch), 1) for side in picture.shape[-2:])
        picture = functional.interpolate(
            picture, (rows * patch, columns * patch), mode="bilinear", align_corners=False, antialias=True
        )
        states = self.network(picture, output_hidden_states=True).hidden_states
        # What comes before the patches (the class token, and registers in some) isn't of any place.
        return [
            states[layer][:, -rows * columns :].transpose(1, 2).unflatten(2, (rows, columns)) for layer in self._wanted
        ]


def _vgg(file: Path) -> nn.Module:
    from torchvision.models.vgg import cfgs, make_layers

    state = _read(file)
    network = make_layers(cfgs["D"], batch_norm=False)
    own = {key.removeprefix("features."): value for key, value in state.items() if not key.startswith("classifier.")}
    try:
        network.load_state_dict(own)
    except RuntimeError:
        raise TrainingError(f"{file} doesn't hold torchvision's VGG-16; download vgg16-397923af.pth there.") from None
    for layer in network:
        if isinstance(layer, nn.ReLU):
            layer.inplace = False  # the outputs are kept
    return _Stages(network, VGG_LAYERS)


def _read(file: Path) -> dict[str, Tensor]:
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        state: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
        return state
    except FileNotFoundError:
        raise TrainingError(f"There is no file {file}; put torchvision's VGG-16 weights there.") from None
    except (SafetensorError, pickle.UnpicklingError, EOFError, OSError, RuntimeError) as error:
        raise TrainingError(f"{file} can't be read as weights ({_line(error)}); download it again.") from None


def _dinov2(directory: Path) -> nn.Module:
    from transformers import AutoModel

    if not (directory / "config.json").is_file():
        raise TrainingError(
            f"There is no DINOv2 in {directory} (no config.json); put one there as transformers saves it."
        )
    try:
        network = AutoModel.from_pretrained(directory, local_files_only=True)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise TrainingError(f"The DINOv2 in {directory} can't be loaded ({_line(error)}); download it again.") from None
    if not hasattr(network.config, "patch_size"):
        raise TrainingError(f"{directory} holds a {type(network).__name__}, which sees no patches; give a DINOv2.")
    return _Patches(network)


def _line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0].rstrip(".")
