"""LoRA files in the ways they are published, and what is wrong with those that don't fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from pipelines.errors import CheckpointError, MisfitError
from pipelines.lora import LoraSwitch, load_lora
from tests.pipelines import tiny

LAYER = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
CONVOLUTION = "down_blocks.1.resnets.0.conv1"


@pytest.fixture
def unet() -> Any:
    torch.manual_seed(0)
    return tiny.unet().eval().requires_grad_(False)


def factors(rank: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(rank, 32, generator=generator), torch.randn(32, rank, generator=generator)


def peft_folder(folder: Path, tensors: dict[str, torch.Tensor], **config: Any) -> Path:
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"r": 4, "lora_alpha": 8, **config}))
    save_file(
        {f"base_model.model.{name}": each for name, each in tensors.items()}, folder / "adapter_model.safetensors"
    )
    return folder


def weight(unet: Any, layer: str = LAYER) -> torch.Tensor:
    return unet.get_submodule(layer).weight


def folded(unet: Any, path: Path, scale: float = 1.0) -> torch.Tensor:
    """What the adapter at ``path`` adds to the layer."""
    before = weight(unet).clone()
    LoraSwitch(unet, {"a": load_lora(path, unet)}).use("a", scale)
    return weight(unet) - before


def test_a_peft_folder_adds_alpha_over_rank_of_the_product(unet: Any, tmp_path: Path) -> None:
    down, up = factors()
    folder = peft_folder(tmp_path / "l", {f"{LAYER}.lora_A.weight": down, f"{LAYER}.lora_B.weight": up})
    assert torch.allclose(folded(unet, folder, 0.5), 0.5 * 8 / 4 * up @ down, atol=1e-5)


def test_rank_stabilised_adapters_divide_by_the_root_of_the_rank(unet: Any, tmp_path: Path) -> None:
    down, up = factors()
    tensors = {f"{LAYER}.lora_A.weight": down, f"{LAYER}.lora_B.weight": up}
    folder = peft_folder(tmp_path / "l", tensors, use_rslora=True)
    assert torch.allclose(folded(unet, folder), 8 / 4**0.5 * up @ down, atol=1e-4)


def test_kohya_files_bring_their_alpha(unet: Any, tmp_path: Path) -> None:
    """How most LoRAs that people share are named; their text encoder's part is left out."""
    down, up = factors()
    name = "lora_unet_" + LAYER.replace(".", "_")
    text = "lora_te_text_model_encoder_layers_0_self_attn_q_proj"
    tensors = {
        f"{name}.lora_down.weight": down,
        f"{name}.lora_up.weight": up,
        f"{name}.alpha": torch.tensor(2.0),
        f"{text}.lora_down.weight": torch.randn(4, 32),
        f"{text}.lora_up.weight": torch.randn(32, 4),
        f"{text}.alpha": torch.tensor(2.0),
    }
    save_file(tensors, tmp_path / "style.safetensors")
    assert torch.allclose(folded(unet, tmp_path / "style.safetensors"), 2 / 4 * up @ down, atol=1e-5)


def test_convolutions(unet: Any, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(2)
    original = weight(unet, CONVOLUTION).clone()
    down = torch.randn(2, original.shape[1], 3, 3, generator=generator)
    up = torch.randn(original.shape[0], 2, 1, 1, generator=generator)
    tensors = {f"{CONVOLUTION}.lora_A.weight": down, f"{CONVOLUTION}.lora_B.weight": up}
    folder = peft_folder(tmp_path / "l", tensors, r=2, lora_alpha=2)
    LoraSwitch(unet, {"a": load_lora(folder, unet)}).use("a", 1.0)
    product = torch.einsum("or,rikl->oikl", up[:, :, 0, 0], down)
    assert torch.allclose(weight(unet, CONVOLUTION) - original, product, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_taking_it_out_leaves_no_trace_in_any_precision(unet: Any, tmp_path: Path, dtype: torch.dtype) -> None:
    down, up = factors()
    folder = peft_folder(tmp_path / "l", {f"{LAYER}.lora_A.weight": down, f"{LAYER}.lora_B.weight": up})
    unet.to(dtype)
    before = weight(unet).clone()
    switch = LoraSwitch(unet, {"a": load_lora(folder, unet)})
    assert switch.use("a", 0.3)
    assert not switch.use("a", 0.3), "nothing changes the second time"
    assert switch.use("a", 1.7)
    assert not torch.equal(weight(unet), before)
    assert switch.use("", 1.0)
    assert torch.equal(weight(unet), before)


@pytest.mark.parametrize("option", ["use_dora", "alpha_pattern", "rank_pattern", "modules_to_save"])
def test_adapters_that_are_more_than_a_lora_are_refused(unet: Any, tmp_path: Path, option: str) -> None:
    down, up = factors()
    tensors = {f"{LAYER}.lora_A.weight": down, f"{LAYER}.lora_B.weight": up}
    folder = peft_folder(tmp_path / "l", tensors, **{option: {"x": 1}})
    with pytest.raises(CheckpointError, match=f"{option} is not supported"):
        load_lora(folder, unet)


def test_another_models_adapter_is_refused_by_its_layer(unet: Any, tmp_path: Path) -> None:
    down, up = factors()
    strange = peft_folder(tmp_path / "a", {"mid_block.x.lora_A.weight": down, "mid_block.x.lora_B.weight": up})
    with pytest.raises(MisfitError, match=r"no layer 'mid_block\.x'"):
        load_lora(strange, unet)
    tensors = {f"{LAYER}.lora_A.weight": torch.zeros(4, 64), f"{LAYER}.lora_B.weight": up}
    with pytest.raises(MisfitError, match="32×64, the layer 32×32"):
        load_lora(peft_folder(tmp_path / "b", tensors), unet)


def test_broken_and_empty_files_are_named(unet: Any, tmp_path: Path) -> None:
    file = tmp_path / "style.safetensors"
    with pytest.raises(CheckpointError, match=r"style\.safetensors is missing"):
        load_lora(file, unet)
    file.write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match=r"style\.safetensors is broken"):
        load_lora(file, unet)
    save_file({"x": torch.zeros(1)}, file)
    with pytest.raises(CheckpointError, match=r"style\.safetensors"):
        load_lora(file, unet)


def test_half_a_change_is_refused(unet: Any, tmp_path: Path) -> None:
    folder = peft_folder(tmp_path / "l", {f"{LAYER}.lora_A.weight": factors()[0]})
    with pytest.raises(CheckpointError, match=r"only half of its change of 'down_blocks"):
        load_lora(folder, unet)
