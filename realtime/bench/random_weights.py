"""Models of the true layouts with random weights, written as diffusers writes them: for machines without a network.

What a picture costs depends on shapes, not on what the numbers are, as long as they stay finite. They are those of the
constructors, which scale them to their fan-in; layers that start at zero (a ControlNet's outputs) or that would answer
nearly black (a decoder's last one) are spread, so that every part has a say in the picture.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from pipelines import layout
from pipelines.controlnet import SD_TURBO_CONTROL, SDXS_512_SKETCH, SDXS_1024_CONTROL
from pipelines.decoder import LARGE, TINY
from pipelines.presets import EMBEDDED
from pipelines.reading import read_json
from pipelines.text_encoder import CLIP_L, OPENCLIP_BIG_G, OPENCLIP_H
from pipelines.unet import SD_TURBO, SDXS_512, SDXS_512_0_9, SDXS_1024, Config

#: Tokens that a prompt is padded to (CLIP), and the words of its vocabulary.
TOKENS, WORDS = 77, 49408


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """What a model is put together from; ``control`` is the ControlNet that fits it. ``side``: of its pictures."""

    unet: Config
    vae: Config
    texts: tuple[Config, ...]
    control: Config | None = None
    side: int = 512
    tokens: int = TOKENS


def _tiny() -> Layout:
    """Every part of SDXS-512's shape, as small as it goes: for the loop's own cost and for tests."""
    blocks: dict[str, Any] = {"block_out_channels": (16, 32, 32), "cross_attention_dim": 32, "norm_num_groups": 8}
    unet = {**SDXS_512, **blocks, "sample_size": 8}
    control = {**SDXS_512_SKETCH, **blocks, "conditioning_embedding_out_channels": (8, 8, 16, 16)}
    sides = ("encoder", "decoder")
    vae = {**TINY, **{f"{side}_block_out_channels": (16,) * 4 for side in sides}}
    vae |= {f"num_{side}_blocks": (1,) * 4 for side in sides}
    text = {**CLIP_L, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    return Layout(unet=unet, vae=vae, texts=({**text, "vocab_size": 512},), control=control, side=64, tokens=12)


def _embedded() -> Layout:
    def read(part: str) -> Config:
        return read_json(EMBEDDED / part / "config.json")

    text = read("text_encoder")
    return Layout(
        unet=read("unet"),
        vae=read("vae"),
        texts=(text,),
        control=read("controlnet"),
        side=256,
        tokens=text["max_position_embeddings"],
    )


LAYOUTS: Mapping[str, Layout] = {
    "sdxs-512-dreamshaper": Layout(unet=SDXS_512, vae=TINY, texts=(CLIP_L,), control=SDXS_512_SKETCH),
    "sdxs-512-dreamshaper-large": Layout(unet=SDXS_512, vae=LARGE, texts=(CLIP_L,), control=SDXS_512_SKETCH),
    "sdxs-512-0.9": Layout(unet=SDXS_512_0_9, vae=TINY, texts=(OPENCLIP_H,)),
    "sd-turbo": Layout(unet=SD_TURBO, vae=LARGE, texts=(OPENCLIP_H,), control=SD_TURBO_CONTROL),
    "sdxs-1024": Layout(unet=SDXS_1024, vae=TINY, texts=(CLIP_L, OPENCLIP_BIG_G), control=SDXS_1024_CONTROL, side=1024),
    "embedded": _embedded(),
    "tiny": _tiny(),
}

_SCHEDULER = {
    "_class_name": "DEISMultistepScheduler",
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "num_train_timesteps": 1000,
    "timestep_spacing": "trailing",
}


def write_model(
    name: str, folder: Path, *, device: torch.device | None = None, dtype: torch.dtype = torch.float16, side: int = 0
) -> Path:
    """A model directory of that layout in ``folder``, and a preset that says that its weights are random.

    Made on ``device``, where filling half a billion parameters may be quicker; the same numbers on the same kind of
    device. ``side``: of its pictures, if not the layout's own. Raises KeyError for a layout that there isn't.
    """
    chosen = LAYOUTS[name]
    torch.manual_seed(0)
    parts: dict[str, Config] = {"unet": chosen.unet, "vae": chosen.vae}
    if chosen.control:
        parts["controlnet"] = chosen.control
    words = chosen.texts[0].get("vocab_size", WORDS)
    ends = {"vocab_size": words, "bos_token_id": words - 2, "eos_token_id": words - 1, "pad_token_id": words - 1}
    for nth, text in zip(("", "_2"), chosen.texts, strict=False):
        parts[f"text_encoder{nth}"] = {**text, **ends, "max_position_embeddings": chosen.tokens}
        _write_tokenizer(folder / f"tokenizer{nth}", words=words, tokens=chosen.tokens)
    for part, config in parts.items():
        with torch.device(device or "cpu"):
            module = spread(layout.make(config))
        _write_part(module, folder / part, dtype)
    _write_json(folder / "scheduler" / "scheduler_config.json", _SCHEDULER)
    _write_json(folder / "model_index.json", _index(parts))
    _write_json(folder / "preset.json", _preset(name, chosen, side or chosen.side))
    return folder


def spread(module: Any) -> Any:
    """Layers that would hide the others get something to say. Returns the module."""
    kind = type(module).__name__
    with torch.no_grad():
        if kind == "ControlNetModel":
            outputs = [*module.controlnet_down_blocks, module.controlnet_mid_block]
            for layer in [*outputs, module.controlnet_cond_embedding.conv_out]:
                torch.nn.init.normal_(layer.weight, std=0.05)
        elif kind == "AutoencoderTiny":
            torch.nn.init.normal_(module.decoder.layers[-1].weight, std=0.2)
            torch.nn.init.constant_(module.decoder.layers[-1].bias, 0.5)
    return module


def _write_part(module: Any, folder: Path, dtype: torch.dtype) -> None:
    """As ``save_pretrained`` would, without its progress bars and its warnings about what is cast."""
    of_diffusers = hasattr(module, "save_config")
    (module.save_config if of_diffusers else module.config.save_pretrained)(str(folder))
    state = {name: tensor.to("cpu", dtype).contiguous() for name, tensor in module.state_dict().items()}
    name = "diffusion_pytorch_model" if of_diffusers else "model"
    save_file(state, str(folder / f"{name}.safetensors"), metadata={"format": "pt"})


def _index(parts: Mapping[str, Config]) -> dict[str, Any]:
    """``model_index.json``: which class of which library is in which folder."""
    is_xl = "text_encoder_2" in parts
    named: dict[str, Any] = {
        "_class_name": f"StableDiffusion{'XL' if is_xl else ''}{'ControlNet' * ('controlnet' in parts)}Pipeline",
        "scheduler": ["diffusers", _SCHEDULER["_class_name"]],
    }
    if not is_xl:
        named |= {"safety_checker": [None, None], "feature_extractor": [None, None], "requires_safety_checker": False}
    for part, config in parts.items():
        kind = layout.class_name(config)
        named[part] = ["transformers" if kind.startswith("CLIP") else "diffusers", kind]
        if part.startswith("text_encoder"):
            named[part.replace("text_encoder", "tokenizer")] = ["transformers", "CLIPTokenizer"]
    return named


def _preset(name: str, chosen: Layout, side: int) -> dict[str, Any]:
    polarity = "white on black" if name == "embedded" else "black on white"
    controls = [{"kind": "canny", "folder": "controlnet", "polarity": polarity}] if chosen.control else []
    defaults = {"prompt": "a, b, c", "control": "canny" if chosen.control else "none"}
    return {
        "name": f"random:{name}",
        "size": [side, side],
        "licence": "none needed",
        "note": "The weights are random: for measuring alone.",
        "controls": controls,
        "defaults": defaults,
    }


def _write_tokenizer(folder: Path, *, words: int, tokens: int) -> None:
    """A CLIP tokenizer that knows single letters; the rest of its vocabulary is never met."""
    letters = [*map(chr, range(ord("a"), ord("z") + 1)), ",", "."]
    known = [*letters, *(f"{letter}</w>" for letter in letters)]
    known += [f"unmet{index}</w>" for index in range(words - len(known) - 2)]
    known += ["<|startoftext|>", "<|endoftext|>"]
    _write_json(folder / "vocab.json", {word: index for index, word in enumerate(known)})
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    end = {"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": tokens, "bos_token": "<|startoftext|>", **end}
    _write_json(folder / "tokenizer_config.json", config)


def _write_json(file: Path, content: Mapping[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content), encoding="utf-8")
