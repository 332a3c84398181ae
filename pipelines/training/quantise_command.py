"""``python -m pipelines.training quantise``: make, measure and keep the int8 form of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import cv2
import typer

from pipelines.backends.openvino import OpenVINOBackend
from pipelines.backends.quantised import BOUND, FOLDER
from pipelines.sdxs import SDXSPipeline
from pipelines.training import calibration
from pipelines.training.quantise import write_form, write_manifest


def quantise_command(
    directory: Annotated[Path, typer.Argument(help="Model directory in the diffusers layout.")],
    picture: Annotated[Path | None, typer.Option("--sheet", help="Draw f32, int8 and their difference here.")] = None,
    count: Annotated[int, typer.Option(min=1, help="Pictures to calibrate on.")] = calibration.COUNT,
) -> None:
    """Make the int8 form that the openvino-int8 backend reads, and measure it (needs NNCF; about two minutes)."""
    manifest = quantise(directory, count=count)
    for precision, figures in manifest["psnr"].items():
        for name, least in figures.items():
            typer.echo(f"{least:6.2f} dB  {name} ({precision} where it isn't int8)")
    good = "auto takes it" if manifest["least_psnr"] >= BOUND else f"auto doesn't take it, as it is under {BOUND} dB"
    typer.echo(f"At least {manifest['least_psnr']:.2f} dB: {good}.")
    if picture:
        sheet = calibration.sheet(_open(directory, "openvino"), _open(directory, "openvino-int8"))
        cv2.imwrite(str(picture), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 92])


def quantise(directory: Path, *, count: int = calibration.COUNT) -> dict[str, Any]:
    """Write the form of the model in ``directory`` and return its manifest. Raises PipelineError without NNCF."""
    exact = _open(directory, "openvino")
    backend = exact._backend
    assert isinstance(backend, OpenVINOBackend)
    samples = calibration.calibration(exact, backend.folded, count=count)
    manifest = write_form(directory, exact._graph, backend.pieces, samples)
    int8 = _open(directory, "openvino-int8")
    quantised = int8._backend
    assert isinstance(quantised, OpenVINOBackend)
    precisions = dict.fromkeys((quantised.rest, "f32"))
    manifest["psnr"], manifest["flicker"] = {}, {}
    for precision in precisions:
        quantised.set_rest(precision)
        manifest["psnr"][precision] = calibration.compare(exact, int8)
        manifest["flicker"][precision] = calibration.flicker(exact, int8)
    manifest["least_psnr"] = min(min(figures.values()) for figures in manifest["psnr"].values())
    write_manifest(directory / FOLDER, manifest)
    return manifest


def _open(directory: Path, backend: str) -> SDXSPipeline:
    return SDXSPipeline.from_pretrained(directory, backend=backend, device="cpu")
