"""The options that commands share, and what people write behind them turned into values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from realtime.errors import BadInput

Model = Annotated[
    str, typer.Option(help="A name (see 'models'), a directory in the diffusers layout, or OWNER/NAME on the hub.")
]
ServedModel = Annotated[
    str,
    typer.Option(
        help="A name (see 'models'), a directory, or OWNER/NAME on the hub; auto is SDXS-512 on a CUDA GPU, fetched if "
        "it is not here, and the embedded model anywhere else."
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or intel-gpu.")]
Backend = Annotated[str, typer.Option(help="auto, eager, compiled, compiled-quick, openvino or openvino-int8.")]
Verify = Annotated[
    bool, typer.Option("--verify", help="First check that the backend paints what eager paints on the same weights.")
]
Dtype = Annotated[
    str, typer.Option(help="auto, fp16, bf16 or fp32; auto is fp16 on a GPU unless the model needs fp32.")
]
Controlnets = Annotated[
    list[str] | None,
    typer.Option("--controlnet", metavar="KIND=REPO_OR_DIR", help="A ControlNet beside the model's own (repeatable)."),
]
Loras = Annotated[
    list[str] | None,
    typer.Option("--lora", metavar="NAME=REPO_OR_PATH", help="A LoRA, on from the start (repeatable)."),
]
Vae = Annotated[
    str | None, typer.Option(help="Another decoder: a folder of the model (vae_large), a path or a repository.")
]
Prompt = Annotated[str | None, typer.Option(help="What to paint it as; the model's own default if left out.")]
Seed = Annotated[int | None, typer.Option(help="Picks the starting noise: 0 to 4294967295.")]
Control = Annotated[str | None, typer.Option(help="What the picture is held to: none, canny, sketch or depth.")]
Strength = Annotated[float | None, typer.Option(help="How strongly it is held to that: 0 to 2.")]
Size = Annotated[
    str | None,
    typer.Option(help="512 or 640x384 (width x height), in multiples of 64; the model's own if left out."),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Any other setting, as in the API: --set blend=0.5 (repeatable)."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for other programs.")]


def parse_size(text: str) -> tuple[int, int]:
    """``512`` or ``WIDTHxHEIGHT`` to (height, width). Raises BadInput."""
    match = re.fullmatch(r"(\d{1,5})(?:[x×](\d{1,5}))?", text)
    if not match:
        raise BadInput(f"--size {text!r} is no size; give 512 or 640x384 (width x height).")
    width, height = int(match[1]), int(match[2] or match[1])
    if not 32 <= min(width, height) <= max(width, height) <= 4096:
        raise BadInput(f"--size {text!r} is out of range; sides go from 32 to 4096 pixels.")
    return height, width


def parse_settings(assignments: Sequence[str]) -> dict[str, Any]:
    """``NAME=VALUE`` each, to a patch of ``pipelines.settings.Settings``, which checks names and ranges.

    A mapping is written ``extra_controls=depth:0.5,canny:0.3``. Raises BadInput.
    """
    patch: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        name = name.strip().replace("-", "_")
        if not (name and equals):
            raise BadInput(f"--set {assignment!r} is not NAME=VALUE; write for example --set blend=0.5.")
        patch[name] = _mapping(assignment, value) if name == "extra_controls" else value
    return patch


def _mapping(assignment: str, value: str) -> dict[str, str]:
    pairs = [each.partition(":") for each in value.split(",") if each.strip()]
    if not all(key.strip() and colon for key, colon, _ in pairs):
        raise BadInput(f"--set {assignment!r} is not KIND:SCALE; write for example --set extra_controls=depth:0.5.")
    return {key.strip(): scale.strip() for key, _, scale in pairs}
