"""Block removal: the student is what is left of the teacher (SDXS, arXiv 2403.16627, section 3.1; BK-SDM, 2305.15798).

A U-Net's stages count from the highest resolution down: stage s is ``down_blocks[s]`` and, of n stages,
``up_blocks[n − 1 − s]``. What remains of a stage keeps its first and, on the way up, its last layer: their weights fit,
since the last one is where the skip from the stage before enters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from torch import nn

from pipelines import layout
from pipelines.errors import TrainingError
from pipelines.unet import Config


@dataclass(frozen=True, kw_only=True)
class Removal:
    """What is taken out of a U-Net or ControlNet (whose mid block always stays).

    ``drop_last_stage``: the lowest resolution, down and up. ``drop_highest_transformers``: those of the highest
    resolution. ``layers_per_block``: layers that stay of each stage. ``transformer_layers_per_block``: transformer
    blocks that stay of each layer, one number for each stage that remains, spread evenly with the first and the last
    among them; empty for all.
    """

    drop_last_stage: bool = True
    drop_mid_block: bool = True
    drop_highest_transformers: bool = True
    layers_per_block: int = 1
    transformer_layers_per_block: tuple[int, ...] = ()


#: SD 1.5 and 2.1 → SDXS-512.
TO_SDXS_512 = Removal()
#: SDXL → SDXS-1024.
TO_SDXS_1024 = Removal(drop_last_stage=False, drop_mid_block=False, transformer_layers_per_block=(1, 2, 3))

#: What diffusers takes where a configuration doesn't say.
_DEFAULTS: Config = MappingProxyType(
    {
        "block_out_channels": (320, 640, 1280, 1280),
        "layers_per_block": 2,
        "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        "transformer_layers_per_block": 1,
    }
)
#: Given for each stage, or once for all.
_BY_STAGE = (
    "block_out_channels",
    "down_block_types",
    "only_cross_attention",
    "cross_attention_dim",
    "attention_head_dim",
    "num_attention_heads",
    "transformer_layers_per_block",
)
_WITHOUT_TRANSFORMERS = {"CrossAttnDownBlock2D": "DownBlock2D", "CrossAttnUpBlock2D": "UpBlock2D"}


def student_config(teacher: Config, removal: Removal) -> Config:
    """The configuration of what is left of a U-Net or ControlNet. Raises TrainingError where that can't be cut out."""
    full = {**_DEFAULTS, **{key: value for key, value in teacher.items() if key == "_class_name" or key[0] != "_"}}
    _check(full, removal)
    config = {**full, "layers_per_block": removal.layers_per_block}
    if removal.drop_last_stage:
        config |= {key: full[key][:-1] for key in _BY_STAGE if isinstance(full.get(key), (tuple, list))}
        config["up_block_types"] = full["up_block_types"][1:]
    if removal.drop_highest_transformers:
        config["down_block_types"] = (_plain(config["down_block_types"][0]), *config["down_block_types"][1:])
        config["up_block_types"] = (*config["up_block_types"][:-1], _plain(config["up_block_types"][-1]))
    if removal.transformer_layers_per_block:
        config["transformer_layers_per_block"] = removal.transformer_layers_per_block
    if is_controlnet(teacher):
        del config["up_block_types"]
    elif removal.drop_mid_block:
        config["mid_block_type"] = None
    return MappingProxyType(config)


def origins(teacher: Config, student: Config) -> Mapping[str, str]:
    """The student's tensors by name → the teacher's tensors that they are copies of."""
    above, below = _Stages.of(teacher), _Stages.of(student)
    return {name: _origin(name, above, below) for name in layout.build(student).state_dict()}


def student_of(teacher: Any, removal: Removal) -> Any:
    """What is left of a U-Net or ControlNet, with the weights it had; nothing of it is shared with the teacher.

    Raises TrainingError where that can't be cut out.
    """
    config = student_config(_config_of(teacher), removal)
    student = layout.build(config)
    theirs = teacher.state_dict()
    ours = {name: theirs[origin].clone() for name, origin in origins(_config_of(teacher), config).items()}
    student.load_state_dict(ours, strict=True, assign=True)
    return student.requires_grad_(True)


def student_controlnet(unet: Any, *, hint_channels: tuple[int, ...] = (16, 32, 96, 256), zero_std: float = 0.0) -> Any:
    """A fresh ControlNet for a student: its encoder's weights, its mid block's if it has one (arXiv 2302.05543).

    ``hint_channels``: of the entry for the map. ``zero_std``: deviation that its zero convolutions start with; above 0
    the map is heard from the first step.
    """
    known = layout.build({"_class_name": "ControlNetModel"}).config
    config = {key: value for key, value in _config_of(unet).items() if key in known}
    if not config.get("mid_block_type"):
        config["mid_block_type"] = known["mid_block_type"]
    config |= {"_class_name": "ControlNetModel", "conditioning_embedding_out_channels": hint_channels}
    config["layers_per_block"] = _one_number(config["layers_per_block"])
    control = layout.make(config)
    theirs = unet.state_dict()
    ours = control.state_dict()
    control.load_state_dict({**ours, **{name: theirs[name].clone() for name in ours if name in theirs}})
    for layer in (*control.controlnet_down_blocks, control.controlnet_mid_block):
        nn.init.normal_(layer.weight, std=zero_std)
    let_maps_through(control)
    if zero_std:
        nn.init.kaiming_normal_(control.controlnet_cond_embedding.conv_out.weight)
    return control


def let_maps_through(controlnet: Any) -> None:
    """Start the layers through which a fresh ControlNet takes its map so that they keep the signal's scale (arXiv
    1502.01852). With torch's own start each lets a fifth through: of a map's few lines a millionth would arrive."""
    entry = controlnet.controlnet_cond_embedding
    for layer in (entry.conv_in, *entry.blocks):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)


def is_controlnet(config: Config) -> bool:
    """As against a U-Net."""
    return layout.class_name(config) == "ControlNetModel"


def spread(count: int, of: int) -> list[int]:
    """``count`` places of ``of``, evenly, the first and (from two on) the last among them."""
    return [place * (of - 1) // max(count - 1, 1) for place in range(count)]


@dataclass(frozen=True, kw_only=True)
class _Stages:
    """``layers`` and transformer ``depths`` by stage."""

    layers: tuple[int, ...]
    depths: tuple[int, ...]

    @classmethod
    def of(cls, config: Config) -> _Stages:
        full = {**_DEFAULTS, **config}
        stages = len(full["block_out_channels"])
        return cls(
            layers=_by_stage(full["layers_per_block"], stages),
            depths=_by_stage(full["transformer_layers_per_block"], stages),
        )

    def residuals(self) -> list[tuple[int, str, int]]:
        """What each of a ControlNet's ``controlnet_down_blocks`` belongs to: the stage, what of it, and which layer."""
        found = [(-1, "conv_in", 0)]
        for stage, count in enumerate(self.layers):
            found += [(stage, "layer", layer) for layer in range(count)]
            found += [(stage, "downsampler", 0)] * (stage < len(self.layers) - 1)
        return found


def _origin(name: str, teacher: _Stages, student: _Stages) -> str:
    part, _, rest = name.partition(".")
    if part == "mid_block":
        return f"{part}.{_depth(rest, teacher.depths[-1], student.depths[-1])}"
    if part not in ("down_blocks", "up_blocks", "controlnet_down_blocks"):
        return name
    number, _, rest = rest.partition(".")
    if part == "controlnet_down_blocks":
        return f"{part}.{_residual(int(number), teacher, student)}.{rest}"
    up = part == "up_blocks"
    stage = len(student.layers) - 1 - int(number) if up else int(number)
    rest = _layer(rest, teacher.layers[stage] + up, student.layers[stage] + up)
    rest = _depth(rest, teacher.depths[stage], student.depths[stage])
    return f"{part}.{len(teacher.layers) - 1 - stage if up else stage}.{rest}"


def _layer(name: str, teacher: int, student: int) -> str:
    kept = spread(student, teacher)
    return re.sub(r"^(resnets|attentions)\.(\d+)", lambda found: f"{found[1]}.{kept[int(found[2])]}", name)


def _depth(name: str, teacher: int, student: int) -> str:
    kept = spread(student, teacher)
    return re.sub(r"transformer_blocks\.(\d+)", lambda found: f"transformer_blocks.{kept[int(found[1])]}", name)


def _residual(number: int, teacher: _Stages, student: _Stages) -> int:
    stage, part, layer = student.residuals()[number]
    if part == "layer":
        layer = spread(student.layers[stage], teacher.layers[stage])[layer]
    return teacher.residuals().index((stage, part, layer))


def _config_of(module: Any) -> Config:
    return {**module.config, "_class_name": type(module).__name__}


def _by_stage(value: Any, stages: int) -> tuple[int, ...]:
    return (value,) * stages if isinstance(value, int) else tuple(value)


def _one_number(layers: Any) -> int:
    """ControlNets have the same number of layers in every stage."""
    numbers = {layers} if isinstance(layers, int) else set(layers)
    if len(numbers) > 1:
        raise TrainingError(f"A ControlNet can't follow a U-Net with different numbers of layers ({layers}).")
    return int(numbers.pop())


def _plain(block: str) -> str:
    plain = _WITHOUT_TRANSFORMERS.get(block, block)
    if "Attn" in plain:
        raise TrainingError(f"Transformers can't be taken out of a {block}; teachers have CrossAttn…Block2D stages.")
    return plain


def _check(teacher: Config, removal: Removal) -> None:
    widths, depths = teacher["block_out_channels"], teacher["transformer_layers_per_block"]
    if teacher.get("reverse_transformer_layers_per_block") or any(not isinstance(d, int) for d in _listed(depths)):
        raise TrainingError("Blocks can't be removed from a teacher whose transformer depth differs within a stage.")
    if removal.drop_last_stage and (len(widths) < 2 or widths[-1] != widths[-2]):
        raise TrainingError(
            f"The last stage can only be dropped where the one before it is as wide, but the teacher's stages have "
            f"{'/'.join(map(str, widths))} channels: keep it (drop_last_stage=False)."
        )
    remaining = len(widths) - removal.drop_last_stage
    layers = min(_by_stage(teacher["layers_per_block"], len(widths))[:remaining])
    if not 1 <= removal.layers_per_block <= layers:
        raise TrainingError(f"{removal.layers_per_block} layers can't stay of the teacher's {layers} in a stage.")
    wanted = removal.transformer_layers_per_block
    if not wanted:
        return
    theirs = _by_stage(depths, len(widths))[:remaining]
    if len(wanted) != remaining or any(not 1 <= few <= many for few, many in zip(wanted, theirs, strict=True)):
        raise TrainingError(f"Transformer blocks {wanted} can't stay of the teacher's {theirs} in {remaining} stages.")


def _listed(value: Any) -> list[Any]:
    return [value] if isinstance(value, int) else list(value)
