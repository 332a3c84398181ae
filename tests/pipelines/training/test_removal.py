"""Block removal: the true teachers' layouts on the meta device, and what the students' weights are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import ControlNetModel, UNet2DConditionModel

from pipelines import layout
from pipelines.compatible import check_controlnet, residuals
from pipelines.controlnet import SDXS_512_SKETCH, SDXS_1024_CONTROL, encoder_of
from pipelines.errors import TrainingError
from pipelines.training.removal import (
    TO_SDXS_512,
    TO_SDXS_1024,
    Removal,
    origins,
    spread,
    student_config,
    student_controlnet,
    student_of,
)
from pipelines.unet import SD_15, SD_TURBO, SDXL, SDXS_512, SDXS_1024, Config
from tests.pipelines.training import tiny_teacher


def shapes(config: Config) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in layout.build(config).state_dict().items()}


def count(config: Config) -> int:
    return sum(parameter.numel() for parameter in layout.build(config).parameters())


@pytest.mark.parametrize(
    ("teacher", "removal", "student", "parameters"),
    [
        (SD_15, TO_SDXS_512, SDXS_512, 315_746_244),
        (SDXL, TO_SDXS_1024, SDXS_1024, 744_114_244),
        (encoder_of(SD_15), TO_SDXS_512, SDXS_512_SKETCH, 186_551_440),
        (encoder_of(SDXL), TO_SDXS_1024, SDXS_1024_CONTROL, 349_017_360),
    ],
)
def test_what_is_left_of_the_true_teachers_is_the_published_layout(
    teacher: Config, removal: Removal, student: Config, parameters: int
) -> None:
    left = student_config(teacher, removal)
    assert count(left) == parameters
    assert shapes(left) == shapes(student)
    assert residuals(left) == residuals(student)


def test_what_is_left_of_sd_21_keeps_its_heads_and_linear_projections() -> None:
    left = student_config(SD_TURBO, TO_SDXS_512)
    assert count(left) == 318_695_364
    assert shapes(left).keys() == shapes(SDXS_512).keys()
    assert left["attention_head_dim"] == (5, 10, 20)
    assert shapes(left)["down_blocks.1.attentions.0.proj_in.weight"] == (640, 640)
    check_controlnet("its", student_config(encoder_of(SD_TURBO), TO_SDXS_512), "student", left)


@pytest.mark.parametrize(
    ("teacher", "removal"),
    [
        (SD_15, TO_SDXS_512),
        (SD_TURBO, TO_SDXS_512),
        (SDXL, TO_SDXS_1024),
        (encoder_of(SD_TURBO), TO_SDXS_512),
        (encoder_of(SDXL), TO_SDXS_1024),
        (SD_15, Removal(drop_last_stage=False, drop_mid_block=False, layers_per_block=2)),
        (SDXL, Removal(drop_last_stage=False, drop_mid_block=False, layers_per_block=2)),
    ],
)
def test_every_tensor_of_the_student_is_one_of_the_teachers(teacher: Config, removal: Removal) -> None:
    student = student_config(teacher, removal)
    theirs, ours = shapes(teacher), shapes(student)
    found = origins(teacher, student)
    assert found.keys() == ours.keys()
    assert len(set(found.values())) == len(found), "no tensor is taken twice"
    for name, origin in found.items():
        assert ours[name] == theirs[origin], f"{name} from {origin}"


def test_where_the_weights_of_sdxs_512_come_from() -> None:
    found = origins(SD_15, student_config(SD_15, TO_SDXS_512))
    for ours, theirs in {
        "conv_in.weight": "conv_in.weight",
        "down_blocks.2.resnets.0.conv1.weight": "down_blocks.2.resnets.0.conv1.weight",
        "down_blocks.1.attentions.0.norm.weight": "down_blocks.1.attentions.0.norm.weight",
        "down_blocks.1.downsamplers.0.conv.bias": "down_blocks.1.downsamplers.0.conv.bias",
        "up_blocks.0.resnets.0.conv1.weight": "up_blocks.1.resnets.0.conv1.weight",
        "up_blocks.0.resnets.1.conv1.weight": "up_blocks.1.resnets.2.conv1.weight",
        "up_blocks.1.attentions.1.proj_in.weight": "up_blocks.2.attentions.2.proj_in.weight",
        "up_blocks.1.upsamplers.0.conv.weight": "up_blocks.2.upsamplers.0.conv.weight",
        "up_blocks.2.resnets.1.conv_shortcut.bias": "up_blocks.3.resnets.2.conv_shortcut.bias",
    }.items():
        assert found[ours] == theirs


def test_where_the_weights_of_sdxs_1024_come_from() -> None:
    found = origins(SDXL, student_config(SDXL, TO_SDXS_1024))
    kept = [f"attentions.0.transformer_blocks.{depth}.attn1.to_q.weight" for depth in (0, 4, 9)]
    for place, theirs in enumerate(kept):
        ours = f"attentions.0.transformer_blocks.{place}.attn1.to_q.weight"
        assert found[f"mid_block.{ours}"] == f"mid_block.{theirs}"
        assert found[f"down_blocks.2.{ours}"] == f"down_blocks.2.{theirs}"
        assert found[f"up_blocks.0.{ours}"] == f"up_blocks.0.{theirs}"
    assert found["mid_block.resnets.1.norm1.weight"] == "mid_block.resnets.1.norm1.weight"
    assert found["up_blocks.2.resnets.1.norm1.weight"] == "up_blocks.2.resnets.2.norm1.weight"


def test_where_the_residuals_of_a_controlnet_come_from() -> None:
    teacher = encoder_of(SD_15)
    found = origins(teacher, student_config(teacher, TO_SDXS_512))
    kept = [int(found[f"controlnet_down_blocks.{place}.weight"].split(".")[1]) for place in range(6)]
    # The teacher's twelve: entry, then layer, layer, downsampler of each stage but the last, which has two layers.
    assert kept == [0, 1, 3, 4, 6, 7]
    assert found["controlnet_mid_block.weight"] == "controlnet_mid_block.weight"


def test_a_student_computes_with_copies_of_its_teachers_weights() -> None:
    torch.manual_seed(0)
    teacher = tiny_teacher.unet().requires_grad_(False)
    student = student_of(teacher, TO_SDXS_512)
    theirs, ours = teacher.state_dict(), student.state_dict()
    for name, origin in origins(dict(teacher.config), {**student.config}).items():
        assert torch.equal(ours[name], theirs[origin])
        assert ours[name].data_ptr() != theirs[origin].data_ptr()
    assert all(parameter.requires_grad for parameter in student.parameters())
    assert student.mid_block is None
    output = student(torch.randn(2, 4, 8, 8), torch.tensor([3, 999]), torch.randn(2, 5, 32)).sample
    assert output.shape == (2, 4, 8, 8)
    assert output.isfinite().all()


def test_removing_nothing_gives_the_teacher() -> None:
    torch.manual_seed(0)
    teacher = tiny_teacher.unet()
    nothing = Removal(drop_last_stage=False, drop_mid_block=False, drop_highest_transformers=False, layers_per_block=2)
    given = torch.randn(1, 4, 8, 8), torch.tensor([500]), torch.randn(1, 5, 32)
    torch.testing.assert_close(student_of(teacher, nothing)(*given).sample, teacher(*given).sample)


@pytest.mark.parametrize("layers", [(3, 2, 3), 4])
def test_teachers_of_any_depth(layers: Any) -> None:
    config = {
        "_class_name": "UNet2DConditionModel",
        "block_out_channels": (8, 16, 16),
        "layers_per_block": layers,
        "down_block_types": ("CrossAttnDownBlock2D",) * 3,
        "up_block_types": ("CrossAttnUpBlock2D",) * 3,
        "transformer_layers_per_block": (1, 4, 2),
        "cross_attention_dim": 8,
        "attention_head_dim": 2,
        "norm_num_groups": 4,
    }
    student = student_config(config, Removal(layers_per_block=2, transformer_layers_per_block=(1, 3)))
    theirs, ours = shapes(config), shapes(student)
    assert {name: theirs[origin] for name, origin in origins(config, student).items()} == ours
    assert student["block_out_channels"] == (8, 16)


def test_a_students_controlnet_made_from_its_teachers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    unet = student_of(tiny_teacher.unet(), TO_SDXS_512)
    control = student_of(tiny_teacher.controlnet(), TO_SDXS_512)
    assert_it_fits(unet, control)
    assert all(layer.weight.abs().sum() > 0 for layer in control.controlnet_down_blocks)


@pytest.mark.parametrize("drop_mid_block", [True, False])
def test_a_fresh_controlnet_starts_as_its_u_nets_encoder_and_adds_nothing(drop_mid_block: bool) -> None:
    torch.manual_seed(0)
    unet = student_of(tiny_teacher.unet(), Removal(drop_mid_block=drop_mid_block))
    control = student_controlnet(unet, hint_channels=(4, 8))
    ours, theirs = control.state_dict(), unet.state_dict()
    shared = ("conv_in", "time_embedding", "down_blocks") + (() if drop_mid_block else ("mid_block",))
    for name in theirs:
        if name.startswith(shared):
            assert torch.equal(ours[name], theirs[name]), name
    down, middle = assert_it_fits(unet, control)
    assert all(not each.any() for each in [*down, middle])
    down, middle = assert_it_fits(unet, student_controlnet(unet, hint_channels=(4, 8), zero_std=0.1))
    assert all(each.any() for each in [*down, middle])


@pytest.mark.parametrize("channels", [(4, 8, 8, 8), (16, 32, 96, 256)])
def test_of_a_map_of_few_lines_much_arrives_where_it_enters_the_u_net(channels: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    entry = student_controlnet(student_of(tiny_teacher.unet(), TO_SDXS_512), hint_channels=channels, zero_std=0.05)
    entry = entry.controlnet_cond_embedding
    lines = torch.zeros(1, 3, 64, 64)
    lines[..., 20:22, :] = 1
    with torch.no_grad():
        moved = entry(lines) - entry(0 * lines)
    assert moved.std() > 0.01  # with torch's own start 1e-6


def assert_it_fits(unet: UNet2DConditionModel, control: ControlNetModel) -> tuple[list[torch.Tensor], torch.Tensor]:
    check_controlnet("it", {**control.config, "_class_name": "ControlNetModel"}, "the student", unet.config)
    given = torch.randn(1, 4, 8, 8), torch.tensor([500]), torch.randn(1, 5, 32)
    pixels = 8 * 2 ** (len(control.config.conditioning_embedding_out_channels) - 1)
    down, middle = control(*given, torch.rand(1, 3, pixels, pixels), return_dict=False)
    painted = unet(*given, down_block_additional_residuals=down, mid_block_additional_residual=middle).sample
    assert painted.shape == given[0].shape
    return down, middle


def test_spread_has_the_first_and_the_last() -> None:
    assert spread(1, 5) == [0]
    assert spread(2, 3) == [0, 2]
    assert spread(3, 10) == [0, 4, 9]
    assert spread(4, 4) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("teacher", "removal", "said"),
    [
        ({"block_out_channels": (8, 16, 32)}, Removal(), "8/16/32 channels"),
        ({}, Removal(layers_per_block=3), "3 layers"),
        ({}, Removal(layers_per_block=0), "0 layers"),
        (SDXL, Removal(drop_last_stage=False, transformer_layers_per_block=(1, 2)), "3 stages"),
        (SDXL, Removal(drop_last_stage=False, transformer_layers_per_block=(1, 3, 10)), r"\(1, 2, 10\)"),
        ({"transformer_layers_per_block": ((1, 2), (2, 2), 1, 1)}, Removal(), "differs within a stage"),
        ({"down_block_types": ("SimpleCrossAttnDownBlock2D",) * 4}, Removal(), "SimpleCrossAttnDownBlock2D"),
    ],
)
def test_what_cannot_be_cut_out_is_said_in_a_sentence(teacher: Config, removal: Removal, said: str) -> None:
    with pytest.raises(TrainingError, match=said):
        student_config(teacher, removal)
