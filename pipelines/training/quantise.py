"""The int8 form of a model for the openvino-int8 backend: made with NNCF, kept beside the weights.

Which layers become int8 was found by measuring each group alone on the first embedded model (least PSNR of 48
pictures): the 3×3 convolutions of ControlNet and U-Net 51 and 55 dB, the decoder's first and last blocks 53 and 47.
Those that stay as they are cost more than they are worth: the U-Net's shortcuts 35, the decoder's convolutions between
the blocks 43, its middle blocks 44, the ControlNet's embedding of the map 36; attention takes little time as it is.
Of the decoder that followed, the residual blocks at the latents' resolution are int8, and what makes pixels is not.
"""

from __future__ import annotations

import gzip
import importlib.metadata
import json
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.backends.openvino_pieces import Pieces
from pipelines.backends.quantised import FOLDER, MANIFEST, digests
from pipelines.errors import PipelineError
from pipelines.training.calibration import Sample

#: The weights of the convolutions that become int8, by the first word of the piece's name.
LAYERS = {
    "control": r"net\.(down_blocks|mid_block)\..*(conv1|conv2|samplers\.0\.conv)\.weight",
    "ascent": r"up_blocks\..*(conv1|conv2|samplers\.0\.conv)\.weight|decoder\.layers\.[123]\.conv[12]\.weight",
}
#: Numbers of a constant that is worth halving: biases and ranges are not.
_LARGE = 2048
#: Everything else stays as it is, whatever NNCF would make of it.
_OTHERS = ("MatMul", "GroupNormalization", "MVN", "Add", "Multiply", "Subtract", "Divide", "Concat", "Interpolate")


def write_form(directory: Path, graph: Any, pieces: Pieces, samples: Sequence[Sample]) -> dict[str, Any]:
    """Quantise and write what the backend reads; returns the manifest, which has no figures yet."""
    models = _quantise(graph, pieces, samples)
    manifest = {
        "pieces": sorted(models),
        "weights": digests(graph),
        "least_psnr": 0.0,
        "made": date.today().isoformat(),
        "versions": {name: importlib.metadata.version(name) for name in ("openvino", "nncf", "torch", "diffusers")},
        "layers": LAYERS,
        "calibrated_on": f"{len(samples)} drawn portraits (pipelines.training.drawn.portraits)",
    }
    folder = directory / FOLDER
    aside = Path(tempfile.mkdtemp(dir=directory))
    for name, model in models.items():
        _save(model, aside, name)
    write_manifest(aside, manifest)
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)
    folder.chmod(0o755)
    return manifest


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")


def _quantise(graph: Any, pieces: Pieces, samples: Sequence[Sample]) -> dict[str, Any]:
    """Each piece sees what those before it make in f32."""
    from openvino import Core

    core = Core()
    models = {"descent": pieces.descent()}
    run = core.compile_model(models["descent"], "CPU", _F32)
    features = [_run(run, sample.inputs) for sample in samples]
    ascents: list[dict[str, Any]] = []
    for net in range(len(graph.controlnets)):
        control = pieces.control(net, 1)
        given = [{**sample.inputs, "maps": sample.maps, "scales": sample.scale} for sample in samples]
        models[f"control{net}"] = _int8(control, given, LAYERS["control"])
        run = core.compile_model(control, "CPU", _F32)
        for each, own in zip(given, features, strict=True):
            added = _run(run, each)
            ascents.append({**each, **{name: own[name] + added[name] for name in own}})
    alone = [{**sample.inputs, **own} for sample, own in zip(samples, features, strict=True)]
    models["ascent"] = _int8(pieces.ascent(), ascents or alone, LAYERS["ascent"])
    return models


_F32 = {"INFERENCE_PRECISION_HINT": "f32"}


def _run(compiled: Any, given: Mapping[str, Any]) -> dict[str, NDArray[np.float32]]:
    results = compiled([given[port.get_node().get_friendly_name()] for port in compiled.inputs])
    return {f"feature{i}": np.array(results[i]) for i in range(len(compiled.outputs))}


def _int8(model: Any, given: Sequence[Mapping[str, Any]], layers: str) -> Any:
    """Ranges from the least to the largest number seen: a clipped one shifts the colours of a whole style."""
    nncf, ranges = _nncf()

    names = [port.get_node().get_friendly_name() for port in model.inputs]
    least = ranges.StatisticsCollectorParameters(ranges.StatisticsType.MIN, ranges.AggregatorType.MIN)
    largest = ranges.StatisticsCollectorParameters(ranges.StatisticsType.MAX, ranges.AggregatorType.MAX)
    return nncf.quantize(
        model,
        nncf.Dataset([[each[name] for name in names] for each in given]),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(given),
        ignored_scope=nncf.IgnoredScope(names=list(_left(model, layers)), types=list(_OTHERS), validate=False),
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            activations_range_estimator_params=ranges.RangeEstimatorParameters(least, largest)
        ),
    )


def _left(model: Any, layers: str) -> Iterable[str]:
    """The convolutions whose weight isn't one of ``layers``."""
    for node in model.get_ops():
        if node.get_type_name() == "Convolution" and not re.search(layers, _weight(node)):
            yield node.get_friendly_name()


def _weight(node: Any) -> str:
    """The name of a convolution's weight, empty where it is made of several."""
    source = node.input_value(1).get_node()
    while source.get_type_name() != "Constant":
        if source.get_input_size() == 0:
            return ""
        source = source.input_value(0).get_node()
    return str(source.get_friendly_name())


def _save(model: Any, folder: Path, name: str) -> None:
    """What stays in floating point is kept in half, as the published weights are."""
    import openvino

    file = folder / f"{name}.xml"
    openvino.save_model(_halved(model), file, compress_to_fp16=False)
    # Without a time in it, so that the same model gives the same file.
    (folder / f"{name}.xml.gz").write_bytes(gzip.compress(file.read_bytes(), mtime=0))
    file.unlink()


def _halved(model: Any) -> Any:
    """OpenVINO itself leaves a model with int8 layers as it is."""
    from openvino import opset13

    model = model.clone()
    for node in model.get_ops():
        if node.get_type_name() != "Constant" or node.get_element_type().get_type_name() != "f32":
            continue
        numbers = np.array(node.data)
        if numbers.size >= _LARGE and np.abs(numbers).max() < np.finfo(np.float16).max:
            half = opset13.convert(opset13.constant(numbers.astype(np.float16)), "f32")
            for target in node.output(0).get_target_inputs():
                target.replace_source_output(half.output(0))
    return model


def _nncf() -> tuple[Any, Any]:
    """The package and its module of range estimators."""
    try:
        import nncf
        from nncf.quantization import range_estimator
    except ImportError:
        raise PipelineError("Quantising needs NNCF: pip install 'sdxs-live[quantise]'.") from None
    return nncf, range_estimator
