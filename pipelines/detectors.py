"""controlnet-aux's detectors: those that are networks, built from its classes and filled with the published weights."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch

from pipelines.detector_weights import fill, find_weights, has_file, read_state
from pipelines.errors import MisfitError


def import_controlnet_aux() -> Any:
    """The package, imported at first use: it imports all its detectors with torchvision and timm (seconds)."""
    # The warnings are about its own use of timm's registry and torch.jit.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import controlnet_aux
    return controlnet_aux


class Detectors:
    """The detectors of one device, each loaded when it is first asked for and kept. Not for two threads at once."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        """``midas``, ``zoe``, ``leres``, ``lineart``, ``pidinet`` or ``hed``, in evaluation mode.

        Raises DownloadError when its weights can't be had, CheckpointError when they are no weights of it.
        """
        if name not in self._loaded:
            self._loaded[name] = _load(name, self._device)
        return self._loaded[name]


def detector_weights(name: str) -> Path:
    """The file with the weights of a detector (see ``Detectors``), fetched if it isn't here.

    Raises MisfitError for a name that is none, and DownloadError.
    """
    if name not in _RECIPES:
        raise MisfitError(f"There is no detector {name!r} with weights; there are {', '.join(_RECIPES)}.")
    return find_weights(_RECIPES[name].file)


def has_weights(name: str) -> bool:
    """Whether a detector's weights are here, so that nothing has to be fetched for it."""
    return name in _RECIPES and has_file(_RECIPES[name].file)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Recipe:
    """``file``: in the weights' repository. ``key``: where the file keeps the tensors, None for at its top.

    ``build``: the detector and the network in it, with no weights yet and nothing fetched.
    """

    file: str
    key: str | None = None
    build: Callable[[], tuple[Any, torch.nn.Module]]


def _load(name: str, device: torch.device) -> Any:
    recipe, path = _RECIPES[name], detector_weights(name)
    state = read_state(path, recipe.key)
    import_controlnet_aux()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # timm's word on the older names that MiDaS calls its layers by
        detector, network = recipe.build()
    fill(network, state, path)
    network.eval().requires_grad_(False).to(device)
    return detector


# The detectors' own from_pretrained is not called: it reads pickles with whatever torch.load allows by default, LeReS's
# parses the program's command line, and two of them want a second network that is never asked.


def _midas() -> tuple[Any, torch.nn.Module]:
    from controlnet_aux.midas import MidasDetector
    from controlnet_aux.midas.midas.dpt_depth import DPTDepthModel

    network = DPTDepthModel(path=None, backbone="vitb_rn50_384", non_negative=True)
    return MidasDetector(network), network


def _zoe() -> tuple[Any, torch.nn.Module]:
    from controlnet_aux.zoe import ZoeDepth, ZoeDetector, get_config

    network = ZoeDepth.build_from_config(get_config("zoedepth", "infer"))
    return ZoeDetector(network), network


def _leres() -> tuple[Any, torch.nn.Module]:
    from controlnet_aux.leres import LeresDetector, RelDepthModel

    network = RelDepthModel(backbone="resnext101")
    return LeresDetector(network, None), network


def _lineart() -> tuple[Any, torch.nn.Module]:
    from controlnet_aux.lineart import Generator, LineartDetector

    network = Generator(3, 1, 3)
    return LineartDetector(network, None), network


def _pidinet() -> tuple[Any, torch.nn.Module]:
    from controlnet_aux.pidi import PidiNetDetector, pidinet

    network = pidinet()
    return PidiNetDetector(network), network


def _hed() -> tuple[Any, torch.nn.Module]:
    from controlnet_aux.hed import ControlNetHED_Apache2, HEDdetector

    network = ControlNetHED_Apache2()
    return HEDdetector(network), network


_RECIPES = {
    "midas": _Recipe(file="dpt_hybrid-midas-501f0c75.pt", build=_midas),
    "zoe": _Recipe(file="ZoeD_M12_N.pt", key="model", build=_zoe),
    "leres": _Recipe(file="res101.pth", key="depth_model", build=_leres),
    "lineart": _Recipe(file="sk_model.pth", build=_lineart),
    "pidinet": _Recipe(file="table5_pidinet.pth", key="state_dict", build=_pidinet),
    "hed": _Recipe(file="ControlNetHED.pth", build=_hed),
}


@cache
def standard_lineart() -> Any:
    """LineartStandardDetector: a difference of blurs, no weights."""
    # It takes the median of nothing where a picture has no lines at all, and goes on with a constant.
    warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
    return import_controlnet_aux().LineartStandardDetector()
