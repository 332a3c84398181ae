"""The full-size layouts: parameters and names, on the meta device against diffusers' own classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from diffusers import ControlNetModel, UNet2DConditionModel

from pipelines import controlnet, decoder, layout, text_encoder, unet
from pipelines.compatible import residuals
from pipelines.errors import CheckpointError


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (unet.SDXS_512, 315_746_244),
        (unet.SDXS_512_CONTEXT_1024, 318_695_364),
        (unet.SDXS_512_0_9, 328_177_284),
        (unet.SD_15, 859_520_964),
        (unet.SD_TURBO, 865_910_724),
        (unet.SDXL, 2_567_463_684),
        (unet.SDXS_1024, 744_114_244),
        (controlnet.SDXS_512_SKETCH, 186_551_440),
        (controlnet.SD_TURBO_CONTROL, 364_228_240),
        (controlnet.SDXS_1024_CONTROL, 349_017_360),
        (decoder.TINY, 2_445_063),
        (decoder.LARGE, 83_653_863),
        (text_encoder.CLIP_L, 123_060_480),
        (text_encoder.OPENCLIP_H, 340_387_840),
        (text_encoder.OPENCLIP_BIG_G, 694_659_840),
    ],
)
def test_sizes(config: Mapping[str, Any], parameters: int) -> None:
    module = layout.build(config)
    assert {parameter.device.type for parameter in module.parameters()} == {"meta"}
    assert sum(parameter.numel() for parameter in module.parameters()) == parameters
    assert layout.parameters(config) == parameters, "what is kept on disk says the same"


def test_sizes_that_the_paper_gives() -> None:
    def billions(config: Mapping[str, Any]) -> float:
        return layout.parameters(config) / 1e9

    assert billions(unet.SDXS_512_CONTEXT_1024) == pytest.approx(0.32, abs=0.005)
    assert billions(unet.SDXS_1024) == pytest.approx(0.74, rel=0.02)
    assert billions(text_encoder.OPENCLIP_H) == pytest.approx(0.33, rel=0.05)
    assert billions(text_encoder.CLIP_L) + billions(text_encoder.OPENCLIP_BIG_G) == pytest.approx(0.80, rel=0.03)
    assert sum(p.numel() for p in layout.build(decoder.TINY).decoder.parameters()) == pytest.approx(1.2e6, rel=0.03)


def shapes(module: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def test_names_are_those_of_diffusers_own_classes() -> None:
    """Built by the constructors, with what differs from SD 1.5's spelled out as in the published configurations."""
    with torch.device("meta"):
        wanted = UNet2DConditionModel(
            sample_size=64,
            layers_per_block=1,
            block_out_channels=(320, 640, 1280),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            mid_block_type=None,
            cross_attention_dim=768,
            attention_head_dim=8,
        )
        sketch = ControlNetModel(
            layers_per_block=1,
            block_out_channels=(320, 640, 1280),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            cross_attention_dim=768,
            attention_head_dim=8,
        )
    assert shapes(layout.build(unet.SDXS_512)) == shapes(wanted)
    assert shapes(layout.build(controlnet.SDXS_512_SKETCH)) == shapes(sketch)
    encoder = {name for name in shapes(wanted) if name.startswith(("conv_in", "time_embedding", "down_blocks"))}
    assert encoder <= set(shapes(sketch)), "a ControlNet starts as a copy of its U-Net's encoder"


def test_sdxs_512_has_what_was_left_of_the_teacher() -> None:
    names = shapes(layout.build(unet.SDXS_512))
    assert not any(name.startswith("mid_block") for name in names)
    assert not any(".attentions." in name for name in names if name.startswith(("down_blocks.0", "up_blocks.2")))
    assert names["down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight"] == (640, 768)
    assert "down_blocks.0.resnets.1.conv1.weight" not in names


def test_the_older_model_looks_at_the_text_where_others_look_at_themselves() -> None:
    module = layout.build(unet.SDXS_512_0_9)
    names = shapes(module)
    for block in ("down_blocks.0", "up_blocks.2"):
        assert names[f"{block}.attentions.0.transformer_blocks.0.attn1.to_k.weight"] == (320, 1024)
    assert names["down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_k.weight"] == (640, 640)
    assert module.down_blocks[0].attentions[0].transformer_blocks[0].attn1.heads == 1
    assert module.up_blocks[2].attentions[0].transformer_blocks[0].attn1.heads == 1


@pytest.mark.parametrize(
    ("main", "control", "count"),
    [
        (unet.SDXS_512, controlnet.SDXS_512_SKETCH, 6),
        (unet.SD_TURBO, controlnet.SD_TURBO_CONTROL, 12),
        (unet.SDXS_1024, controlnet.SDXS_1024_CONTROL, 6),
        (unet.SDXL, controlnet.encoder_of(unet.SDXL), 9),
    ],
)
def test_the_residuals_counted_from_a_configuration_are_those_of_the_network(
    main: Mapping[str, Any], control: Mapping[str, Any], count: int
) -> None:
    built = [layer.out_channels for layer in layout.build(control).controlnet_down_blocks]
    assert residuals(control) == residuals(main) == built
    assert len(built) == count


def test_what_is_no_part_of_a_model_is_refused() -> None:
    with pytest.raises(CheckpointError, match="FluxTransformer2DModel"):
        layout.build({"_class_name": "FluxTransformer2DModel"})
