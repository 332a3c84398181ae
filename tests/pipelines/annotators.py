"""Weights of the right shape and names for controlnet-aux's networks, random, in the files its classes expect."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from pipelines.detectors import import_controlnet_aux

FILES = {
    "midas": "dpt_hybrid-midas-501f0c75.pt",
    "zoe": "ZoeD_M12_N.pt",
    "leres": "res101.pth",
    "lineart": "sk_model.pth",
    "pidinet": "table5_pidinet.pth",
    "hed": "ControlNetHED.pth",
}


def folder_of(models: Path) -> Path:
    return models / "lllyasviel" / "Annotators"


def network(name: str) -> torch.nn.Module:
    """The network of a detector as controlnet-aux itself builds it, with random weights."""
    import_controlnet_aux()
    torch.manual_seed(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _BUILD[name]()


def save(name: str, models: Path) -> Path:
    """Write the weights of one detector into a models folder, unless they are there; half precision, to be quick."""
    path = folder_of(models) / FILES[name]
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        state = {key: tensor.half() for key, tensor in network(name).state_dict().items()}
        torch.save(_AS_PUBLISHED.get(name, dict)(state), path)
    return path


@contextmanager
def no_network() -> Iterator[list[Any]]:
    """A list of all connections and host names that were asked for meanwhile; each attempt fails."""
    asked: list[Any] = []

    def refuse(*arguments: Any, **_: Any) -> None:
        asked.append(arguments)
        raise OSError("This test has no network.")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("socket.socket.connect", refuse)
        patch.setattr("socket.getaddrinfo", refuse)
        yield asked


def _midas() -> torch.nn.Module:
    from controlnet_aux.midas.midas.dpt_depth import DPTDepthModel

    net = DPTDepthModel(path=None, backbone="vitb_rn50_384", non_negative=True)
    last = net.scratch.output_conv[4]
    torch.nn.init.normal_(last.weight, std=2.0)
    torch.nn.init.constant_(last.bias, 3.0)  # random weights alone end below the last ReLU
    return net


def _zoe() -> torch.nn.Module:
    from controlnet_aux.zoe import ZoeDepth, get_config

    return ZoeDepth.build_from_config(get_config("zoedepth", "infer"))


def _leres() -> torch.nn.Module:
    from controlnet_aux.leres import RelDepthModel

    return RelDepthModel(backbone="resnext101")


def _lineart() -> torch.nn.Module:
    from controlnet_aux.lineart import Generator

    return Generator(3, 1, 3)


def _pidinet() -> torch.nn.Module:
    from controlnet_aux.pidi import pidinet

    net = pidinet()
    net.classifier.weight.data *= 300.0  # random weights alone give the same grey everywhere
    return net


def _hed() -> torch.nn.Module:
    from controlnet_aux.hed import ControlNetHED_Apache2

    return ControlNetHED_Apache2()


_BUILD = {
    "midas": _midas,
    "zoe": _zoe,
    "leres": _leres,
    "lineart": _lineart,
    "pidinet": _pidinet,
    "hed": _hed,
}

_AS_PUBLISHED: dict[str, Any] = {
    "zoe": lambda state: {"model": state},
    "leres": lambda state: {"depth_model": {f"module.{key}": tensor for key, tensor in state.items()}},
    "pidinet": lambda state: {"epoch": 19, "state_dict": {f"module.{key}": tensor for key, tensor in state.items()}},
}
