"""Whatever is wrong with a model directory, one sentence names the file, and the tensor where it is one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipelines.checkpoint import Checkpoint, load_checkpoint
from pipelines.errors import CheckpointError
from pipelines.files import ModelFiles
from pipelines.presets import Preset

UNET = "unet/diffusion_pytorch_model.safetensors"


def load(directory: Path) -> Checkpoint:
    files = ModelFiles(
        preset=Preset(name="tiny"),
        directory=directory,
        vae=directory / "vae",
        controlnets={"canny": directory / "controlnet"},
    )
    return load_checkpoint(files, dtype=torch.float32)


@pytest.fixture
def directory(saved: tuple, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved[1], tmp_path / "copy"))


@pytest.mark.parametrize(
    "name",
    [
        "model_index.json",
        "unet/config.json",
        UNET,
        "controlnet/diffusion_pytorch_model.safetensors",
        "vae/config.json",
        "text_encoder/model.safetensors",
        "scheduler/scheduler_config.json",
    ],
)
def test_a_missing_file_is_named(directory: Path, name: str) -> None:
    (directory / name).unlink()
    with pytest.raises(CheckpointError, match=name.split("/")[-1].replace(".", r"\.")) as caught:
        load(directory)
    assert str(directory / name) in str(caught.value)


def test_a_missing_tokenizer_is_named(directory: Path) -> None:
    shutil.rmtree(directory / "tokenizer")
    with pytest.raises(CheckpointError, match="tokenizer"):
        load(directory)


def test_a_cut_file_is_named(directory: Path) -> None:
    data = (directory / UNET).read_bytes()
    (directory / UNET).write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError, match=r"diffusion_pytorch_model\.safetensors is broken"):
        load(directory)


@pytest.mark.parametrize("content", ["", "{", "[1]", "nonsense"])
def test_broken_json_is_named(directory: Path, content: str) -> None:
    (directory / "unet/config.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"unet.config\.json"):
        load(directory)


def test_a_shape_that_does_not_fit_names_file_and_tensor(directory: Path) -> None:
    state = load_file(directory / UNET)
    state["conv_in.weight"] = torch.zeros(16, 9, 3, 3)
    save_file(state, directory / UNET)
    with pytest.raises(CheckpointError, match=r"'conv_in\.weight' has shape \[16, 9, 3, 3\]") as caught:
        load(directory)
    assert UNET.split("/")[1] in str(caught.value)
    assert "[16, 4, 3, 3]" in str(caught.value)


def test_missing_and_strange_tensors_are_named(directory: Path) -> None:
    state = load_file(directory / UNET)
    moved = state.pop("conv_in.bias")
    save_file(state, directory / UNET)
    with pytest.raises(CheckpointError, match=r"'conv_in\.bias' is missing"):
        load(directory)
    save_file({**state, "conv_in.bias": moved, "lora.down": moved.clone()}, directory / UNET)
    with pytest.raises(CheckpointError, match=r"'lora\.down' has no place"):
        load(directory)


def test_pickled_weights_are_refused(directory: Path) -> None:
    (directory / UNET).unlink()
    torch.save({}, directory / "unet/diffusion_pytorch_model.bin")
    with pytest.raises(CheckpointError, match="safetensors"):
        load(directory)


@pytest.mark.parametrize("class_name", ["FluxTransformer2DModel", "os.system", ""])
def test_a_class_we_cannot_run_is_refused(directory: Path, class_name: str) -> None:
    index = json.loads((directory / "model_index.json").read_text())
    index["unet"] = ["diffusers", class_name]
    (directory / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=class_name or "names no unet"):
        load(directory)


def test_published_text_encoders_carry_a_prefix(directory: Path, saved: tuple) -> None:
    file = directory / "text_encoder/model.safetensors"
    bare = {name.removeprefix("text_model."): tensor for name, tensor in load_file(file).items()}
    ids = torch.arange(12).unsqueeze(0)
    for prefix in ("", "text_model."):
        save_file(
            {f"{prefix}{name}": t for name, t in bare.items()} | {"text_model.embeddings.position_ids": ids}, file
        )
        encoder = load(directory).text_encoders[0]
        tokens = torch.zeros(1, 12, dtype=torch.int64)
        assert torch.allclose(encoder(tokens)[0], saved[0].text_encoder(tokens)[0], atol=1e-6)


def test_half_precision_files_load_as_asked(directory: Path) -> None:
    save_file({name: tensor.half() for name, tensor in load_file(directory / UNET).items()}, directory / UNET)
    parts = load(directory)
    assert {parameter.dtype for parameter in parts.unet.parameters()} == {torch.float32}
    assert not any(tensor.is_meta for part in (parts.unet, parts.text_encoders[0]) for tensor in part.buffers())
