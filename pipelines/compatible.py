"""Whether the parts of a model fit together, told from their small files: before weights are fetched or loaded."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines import layout
from pipelines.errors import CheckpointError, MisfitError
from pipelines.parts import text_encoders
from pipelines.reading import read_json
from pipelines.sampler import one_step

_UNETS, _VAES = {"UNet2DConditionModel"}, {"AutoencoderTiny", "AutoencoderKL", "AutoencoderSubpixel"}
_TEXTS = {"CLIPTextModel", "CLIPTextModelWithProjection"}
#: How a decoder's side relates to the latents': what every size in this package is built on.
_SCALE = 8
#: A LoRA's tensor, as PEFT, diffusers and kohya name it: module, and which of the two matrices.
_LORA = re.compile(
    r"^(?:base_model\.model\.|unet\.|lora_unet_)?(?P<module>.+?)\.(?:lora_?(?P<peft>[AB])(?:\.\w+)?|lora[._](?P<old>down|up))\.weight$"
)

#: Of the text encoder, which is left alone; and the U-Net's in the names of another code, which the loader translates.
_NOT_OURS = ("text_encoder", "lora_te", "lora_unet_input_blocks", "lora_unet_middle_block", "lora_unet_output_blocks")


def check(
    name: str,
    directory: Path,
    *,
    vae: Path,
    controlnets: Mapping[str, Path] | None = None,
    loras: Mapping[str, Mapping[str, Sequence[int]]] | None = None,
) -> None:
    """That a model's parts fit: its U-Net, text encoders, scheduler and decoder, and each ControlNet and LoRA.

    ``name`` is how to call the model. ``vae``: the decoder's folder. ``controlnets``: the folder of each, by what to
    call it. ``loras``: the tensors' shapes of each, likewise. Raises MisfitError naming both sides of what doesn't fit,
    or CheckpointError naming the file that can't be read.
    """
    _check_pipeline(name, read_json(directory / "model_index.json"))
    unet = read_json(directory / "unet" / "config.json")
    _check_unet(name, unet, directory)
    _check_decoder(name, unet, vae)
    try:
        one_step(read_json(directory / "scheduler" / "scheduler_config.json"))
    except CheckpointError as error:
        raise CheckpointError(f"{name} is no one-step model: {str(error)[0].lower()}{str(error)[1:]}") from None
    for label, folder in (controlnets or {}).items():
        check_controlnet(label, read_json(folder / "config.json"), name, unet)
    for label, shapes in (loras or {}).items():
        check_lora(label, shapes, name, unet)


def _check_pipeline(name: str, index: Mapping[str, Any]) -> None:
    kind = index.get("_class_name", "nothing known")
    for part, fitting in (("unet", _UNETS), ("text_encoder", _TEXTS), ("vae", _VAES)):
        entry = index.get(part)
        found = entry[-1] if isinstance(entry, list) and entry else None
        if found not in fitting:
            raise MisfitError(
                f"{name} is a {kind} with {found or 'nothing'} as {part}; this tool runs one-step models of the "
                "Stable Diffusion 1.x, 2.x and XL family."
            )


def _check_unet(name: str, unet: Mapping[str, Any], directory: Path) -> None:
    entered, left = unet.get("in_channels", 4), unet.get("out_channels", 4)
    if entered != left:
        raise MisfitError(
            f"{name} takes {entered} channels and gives {left}: it repaints with a picture beside the noise "
            "(inpainting and the like), which this tool doesn't; take the text-to-image model."
        )
    widths = [read_json(directory / text / "config.json").get("hidden_size", 512) for text in text_encoders(directory)]
    wanted = unet.get("cross_attention_dim", 1280)
    if sum(widths) != wanted:
        raise MisfitError(
            f"The U-Net of {name} takes text embeddings {wanted} wide, but its text encoder gives "
            f"{' + '.join(map(str, widths))}; the two are not of one model."
        )


def _check_decoder(name: str, unet: Mapping[str, Any], folder: Path) -> None:
    vae = read_json(folder / "config.json")
    label, kind = f"The decoder {folder.name}", layout.class_name(vae)
    if kind not in _VAES:
        raise MisfitError(f"{label} is a {kind or 'thing without a class name'}; {name} takes {' or '.join(_VAES)}.")
    given, taken = unet.get("in_channels", 4), vae.get("latent_channels", 4)
    if given != taken:
        raise MisfitError(f"{label} takes latents of {taken} channels, but {name} gives {given}.")
    stages = vae.get("decoder_block_out_channels" if kind == "AutoencoderTiny" else "block_out_channels")
    scale = 2 ** (len(stages) - 1) if stages else _SCALE
    if scale != _SCALE:
        raise MisfitError(f"{label} makes pictures {scale} times as large as the latents; {name} is built on {_SCALE}.")


def residuals(config: Mapping[str, Any]) -> list[int]:
    """The channels of each output of a U-Net's encoder, which a ControlNet gives one residual for."""
    widths = list(config.get("block_out_channels", (320, 640, 1280, 1280)))
    layers = config.get("layers_per_block", 2)
    per_stage = [layers] * len(widths) if isinstance(layers, int) else list(layers)
    found = [widths[0]]
    for stage, (width, count) in enumerate(zip(widths, per_stage, strict=True)):
        found += [width] * (count + (stage < len(widths) - 1))  # all but the last stage end in a downsampling
    return found


def check_controlnet(label: str, control: Mapping[str, Any], name: str, unet: Mapping[str, Any]) -> None:
    """That a ControlNet's configuration fits a U-Net's. Raises MisfitError naming both."""
    if layout.class_name(control) != "ControlNetModel":
        raise MisfitError(f"{label} is no ControlNet of diffusers but a {layout.class_name(control) or 'stranger'}.")
    given, taken = residuals(control), residuals(unet)
    if len(given) != len(taken):
        raise MisfitError(
            f"The ControlNet {label} doesn't fit {name}: it gives {len(given) + 1} residuals, and {name} takes "
            f"{len(taken) + 1}; it was made for another model."
        )
    if given != taken:
        raise MisfitError(
            f"The ControlNet {label} doesn't fit {name}: its stages are {_widths(control)} channels wide, and those of "
            f"{name} are {_widths(unet)}."
        )
    for key, default, words in (
        ("cross_attention_dim", 1280, "takes text embeddings {} wide"),
        ("in_channels", 4, "takes latents of {} channels"),
    ):
        if control.get(key, default) != unet.get(key, default):
            raise MisfitError(
                f"The ControlNet {label} doesn't fit {name}: it {words.format(control.get(key, default))}, and {name} "
                f"{words.format(unet.get(key, default))}."
            )
    if control.get("conditioning_channels", 3) != 3:
        raise MisfitError(f"The ControlNet {label} takes maps of {control['conditioning_channels']} channels, not RGB.")
    if control.get("addition_embed_type") == "text_time" != unet.get("addition_embed_type"):
        raise MisfitError(f"The ControlNet {label} is for SDXL's added conditions, which {name} doesn't have.")


def _widths(config: Mapping[str, Any]) -> str:
    return "/".join(map(str, config.get("block_out_channels", (320, 640, 1280, 1280))))


def check_lora(label: str, shapes: Mapping[str, Sequence[int]], name: str, unet: Mapping[str, Any]) -> None:
    """That each matrix of a LoRA belongs to a layer of the U-Net and has its width. Raises MisfitError naming both."""
    layers = {key.removesuffix(".weight"): list(t.shape) for key, t in layout.build(unet).state_dict().items()}
    flat = {layer.replace(".", "_"): layer for layer in layers}
    touched = 0
    for key, shape in shapes.items():
        match = _LORA.match(key)
        if match is None or key.startswith(_NOT_OURS):
            continue
        layer = flat.get(match["module"].replace(".", "_"))
        if layer is None:
            raise MisfitError(
                f"The LoRA {label} doesn't fit {name}: it changes {match['module']}, which {name} doesn't have; it was "
                "made for another model."
            )
        down = match["peft"] == "A" or match["old"] == "down"
        have, want = (shape[1], layers[layer][1]) if down else (shape[0], layers[layer][0])
        if have != want:
            raise MisfitError(
                f"The LoRA {label} doesn't fit {name}: at {layer} it is {have} wide, and {name} {want}; it was "
                "made for another model."
            )
        touched += 1
    if not touched and not any("lora" in key for key in shapes):
        raise MisfitError(f"{label} has no LoRA matrices for a U-Net, so there is nothing that it could change.")
