"""The int8 form of a model that lies beside its weights: read where it is of these very weights, and good enough.

A folder ``openvino-int8`` in the model's directory, made by ``python -m pipelines.training quantise``: the pieces of
the graph (``pipelines.split``) as OpenVINO models, and ``form.json``, which says what they were made from and how near
their pictures come to those of f32.
"""

from __future__ import annotations

import dataclasses
import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.backends.ir_cache import weights_digest
from pipelines.graph import PaintGraph

FOLDER = "openvino-int8"
MANIFEST = "form.json"
#: Decibels: the peak signal-to-noise ratio that ``auto`` asks of every picture that was measured. A flat error of one
#: grey level has 48, of two and a half 40.
BOUND = 40.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Form:
    """A form that was found and is of the weights at hand. ``least_psnr``: of all pictures measured, in dB."""

    folder: Path
    least_psnr: float

    def models(self, core: Any) -> dict[str, Any]:
        """Its pieces by name. Raises RuntimeError for a file that OpenVINO can't read, and what gzip raises."""
        import numpy as np
        import openvino

        models = {}
        for file in sorted(self.folder.glob("*.xml.gz")):
            name = file.name.removesuffix(".xml.gz")
            weights = np.fromfile(self.folder / f"{name}.bin", np.uint8)
            models[name] = core.read_model(gzip.decompress(file.read_bytes()), openvino.Tensor(weights))
        return models


def find_form(directory: Path | None, graph: PaintGraph) -> Form | None:
    """The form in the model's ``directory``; None where there is none, or it is of other weights or cut short."""
    folder = directory / FOLDER if directory else None
    if folder is None or not (folder / MANIFEST).is_file():
        return None
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        pieces: Sequence[str] = manifest["pieces"]
        whole = all((folder / f"{name}{end}").is_file() for name in pieces for end in (".xml.gz", ".bin"))
        if not whole or manifest["weights"] != digests(graph):
            return None
        return Form(folder=folder, least_psnr=float(manifest["least_psnr"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def digests(graph: PaintGraph) -> Mapping[str, str]:
    """Of the networks' weights and the step: what a form is made from."""
    networks = {"unet": graph.unet, "decoder": graph.decode}
    networks |= {f"controlnet{i}": net for i, net in enumerate(graph.controlnets)}
    return {**{name: weights_digest(net) for name, net in networks.items()}, "step": str(graph.step)}
