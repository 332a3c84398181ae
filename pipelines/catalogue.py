"""What there is to choose from: every model known by name, with its sizes counted from the layouts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipelines import controlnet, decoder, layout, text_encoder, unet
from pipelines.locate import is_here
from pipelines.parts import text_encoders
from pipelines.presets import EMBEDDED, PRESETS, SDXS_1024, Control, Preset, read_preset
from pipelines.reading import read_json
from pipelines.unet import Config

if TYPE_CHECKING:
    import torch

    from pipelines.memory import Needs

#: What each model known by name is built from: U-Net, ControlNet, decoder and text encoders.
_SDXS = (controlnet.SDXS_512_SKETCH, decoder.TINY, (text_encoder.CLIP_L,))
LAYOUTS: Mapping[str, tuple[Config, Config | None, Config, tuple[Config, ...]]] = {
    "sdxs-512-dreamshaper": (unet.SDXS_512, *_SDXS),
    "sdxs-512-dreamshaper-anime": (unet.SDXS_512, *_SDXS),
    "sdxs-512-0.9": (unet.SDXS_512_0_9, None, decoder.TINY, (text_encoder.OPENCLIP_H,)),
    "sd-turbo": (unet.SD_TURBO, controlnet.SD_TURBO_CONTROL, decoder.LARGE, (text_encoder.OPENCLIP_H,)),
    "sdxs-1024": (
        unet.SDXS_1024,
        controlnet.SDXS_1024_CONTROL,
        decoder.TINY,
        (text_encoder.CLIP_L, text_encoder.OPENCLIP_BIG_G),
    ),
}


def list_presets() -> list[dict[str, Any]]:
    """Every model known by name, as ``sdxs-live models --json`` prints it. Needs no weights."""
    embedded = read_preset(EMBEDDED)
    return [_row(embedded, _layouts_here(embedded)), *(_row(preset, LAYOUTS[preset.name]) for preset in PRESETS)]


def memory_needed(name: str, *, dtype: torch.dtype, batch: int = 1) -> Needs:
    """What the model of that name takes at its native size, ControlNets included, whether it is here or not."""
    from pipelines.memory import estimate

    preset = next(preset for preset in (read_preset(EMBEDDED), *PRESETS) if preset.name == name)
    main, control, vae, texts = LAYOUTS[name] if name in LAYOUTS else _layouts_here(preset)
    networks = {each.repo or each.folder for each in preset.controls}
    controlnets = [control] * len(networks) if control else []
    return estimate(main, vae=vae, texts=texts, controlnets=controlnets, dtype=dtype, size=preset.size, batch=batch)


def _layouts_here(preset: Preset) -> tuple[Config, Config | None, Config, tuple[Config, ...]]:
    """The embedded model's layout is its own files."""
    networks = [EMBEDDED / control.folder for control in preset.controls]
    return (
        read_json(EMBEDDED / "unet" / "config.json"),
        read_json(networks[0] / "config.json") if networks else None,
        read_json(EMBEDDED / "vae" / "config.json"),
        tuple(read_json(EMBEDDED / name / "config.json") for name in text_encoders(EMBEDDED)),
    )


def _row(preset: Preset, layouts: tuple[Config, Config | None, Config, tuple[Config, ...]]) -> dict[str, Any]:
    main, control, vae, texts = layouts

    def about(each: Control) -> dict[str, Any]:
        assert control is not None, "a preset with controls has a layout for them"
        return {"kind": each.kind, "repo": each.repo or preset.name, "parameters": layout.parameters(control)}

    return {
        "name": preset.name,
        "repo": preset.repo,
        "size": list(preset.size),
        "dtype": preset.dtype,
        "unet_parameters": layout.parameters(main),
        "decoder_parameters": layout.parameters(vae),
        "text_encoder_parameters": sum(layout.parameters(text) for text in texts),
        "controls": [about(each) for each in preset.controls],
        "loras": [{"name": lora.name, "repo": lora.repo} for lora in preset.loras],
        "licence": preset.licence,
        "released": preset is not SDXS_1024,
        "present": preset is not SDXS_1024 and is_here(preset),
    }
