"""Every family and control against diffusers' own pipelines on the same weights: at most 1e-3 apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    MultiControlNetModel,
    StableDiffusionControlNetPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
)
from peft import LoraConfig, get_peft_model

from pipelines import SDXSPipeline, Settings
from tests.pipelines import families, tiny
from tests.pipelines.test_sdxs import edges

FIRST = Settings(prompt="a cat", seed=4, conditioning_scale=0.7)
SECOND = Settings(prompt="b, dog", seed=5, conditioning_scale=1.2)
BACKENDS = ("eager", "openvino")
MAKERS = {"sd2": families.sd2, "sdxl": families.sdxl}


def painted(pipe: Any, settings: Settings, size: tuple[int, int] = (128, 128), **options: Any) -> torch.Tensor:
    """One step of diffusers' pipeline."""
    if "image" not in options:
        options |= {"height": size[0], "width": size[1]}
    return pipe(
        settings.prompt,
        num_inference_steps=1,
        guidance_scale=0.0,
        generator=torch.Generator().manual_seed(settings.seed),
        output_type="pt",
        **options,
    ).images


def ours(directory: Path, backend: str = "eager", **options: Any) -> SDXSPipeline:
    return SDXSPipeline.from_pretrained(directory, backend=backend, device="cpu", **options)


def assert_same(picture: torch.Tensor, expected: torch.Tensor) -> None:
    assert expected.std() > 0.05, "the random model must paint something, or the comparison says nothing"
    assert (picture - expected).abs().max() <= 1e-3


@pytest.fixture(scope="module", params=sorted(MAKERS))
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any, Path]:
    pipe, directory = MAKERS[request.param](tmp_path_factory.mktemp(request.param))
    return request.param, pipe, directory


@pytest.mark.parametrize("backend", BACKENDS)
def test_controlled_picture_of_other_families(family: tuple[str, Any, Path], backend: str) -> None:
    _, pipe, directory = family
    control, mine = edges(2, 128, 192), ours(directory, backend)
    batch = mine(control, [FIRST, SECOND])
    for i, settings in enumerate((FIRST, SECOND)):
        scale = {"controlnet_conditioning_scale": settings.conditioning_scale}
        assert_same(batch[i : i + 1], painted(pipe, settings, image=control[i : i + 1], **scale))


@pytest.mark.parametrize("backend", BACKENDS)
def test_text_to_image_of_other_families(family: tuple[str, Any, Path], backend: str) -> None:
    name, pipe, directory = family
    parts = {key: value for key, value in pipe.components.items() if key != "controlnet"}
    plain: Any = StableDiffusionXLPipeline(**parts, add_watermarker=False) if name == "sdxl" else None
    plain = plain or StableDiffusionPipeline(**parts, requires_safety_checker=False)
    plain.set_progress_bar_config(disable=True)
    text = FIRST.replace(control="none")
    picture = ours(directory, backend)(torch.zeros(1, 0, 3, 96, 128), [text])
    assert_same(picture, painted(plain, text, (96, 128)))


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_older_sdxs(tmp_path: Path, backend: str) -> None:
    pipe, directory = families.sdxs_0_9(tmp_path)
    mine, text = ours(directory, backend), FIRST.replace(control="none")
    assert mine.controls == ()
    assert_same(mine(torch.zeros(1, 0, 3, 128, 96), [text]), painted(pipe, text, (128, 96)))


@pytest.mark.parametrize("backend", BACKENDS)
def test_text_to_image_of_the_sdxs_shape(saved: tuple, backend: str) -> None:
    parts = {key: value for key, value in saved[0].components.items() if key != "controlnet"}
    plain = StableDiffusionPipeline(**parts, requires_safety_checker=False)
    plain.set_progress_bar_config(disable=True)
    text = FIRST.replace(control="none")
    picture = ours(saved[1], backend)(torch.zeros(1, 0, 3, 128, 128), [text])
    assert_same(picture, painted(plain, text))


@pytest.mark.parametrize("backend", BACKENDS)
def test_two_controls_with_a_strength_each(saved: tuple, tmp_path: Path, backend: str) -> None:
    pipe, directory = saved
    depth, folder = families.controlnet_folder(tmp_path, seed=11)
    both = StableDiffusionControlNetPipeline(
        **{**pipe.components, "controlnet": MultiControlNetModel([pipe.controlnet, depth])},
        requires_safety_checker=False,
    )
    both.set_progress_bar_config(disable=True)
    settings = FIRST.replace(extra_controls={"depth": 0.4})
    lines, depths = edges(1), torch.rand(1, 3, 128, 128)
    mine = ours(directory, backend, controlnets=[f"depth={folder}"])
    assert set(mine.controls) == {"canny", "depth"}
    picture = mine(torch.stack([lines, depths], dim=1), [settings])
    expected = painted(both, settings, image=[lines, depths], controlnet_conditioning_scale=[0.7, 0.4])
    assert_same(picture, expected)
    alone = mine(lines, [FIRST])
    assert_same(alone, painted(pipe, FIRST, image=lines, controlnet_conditioning_scale=0.7))
    assert not torch.allclose(alone, picture, atol=1e-3)


def peft_adapter(pipe: Any, folder: Path, *, seed: int = 21) -> Any:
    """A PEFT LoRA of the U-Net's attention and convolutions, saved as the published one is; and the adapted U-Net."""
    torch.manual_seed(seed)
    config = LoraConfig(
        r=4, lora_alpha=6, target_modules=["to_q", "to_k", "to_v", "to_out.0", "conv1"], init_lora_weights=False
    )
    adapted = get_peft_model(pipe.unet, config)
    adapted.save_pretrained(folder)
    return adapted


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_lora_is_diffusers_picture_and_goes_without_a_trace(tmp_path: Path, backend: str) -> None:
    pipe, directory = tiny.save(tmp_path)
    control = edges(1)
    plain = painted(pipe, FIRST, image=control, controlnet_conditioning_scale=0.7)
    pipe.unet = peft_adapter(pipe, tmp_path / "anime")
    styled = painted(pipe, FIRST, image=control, controlnet_conditioning_scale=0.7)
    mine = ours(directory, backend, loras=[f"anime={tmp_path / 'anime'}"])
    assert mine.loras == ("anime",)
    before = mine(control, [FIRST])
    assert_same(before, plain)
    with_style = mine(control, [FIRST.replace(lora="anime")])
    assert_same(with_style, styled)
    assert not torch.allclose(with_style, before, atol=1e-2)
    half = mine(control, [FIRST.replace(lora="anime", lora_scale=0.5)])
    assert not torch.allclose(half, with_style, atol=1e-3)
    assert torch.equal(mine(control, [FIRST]), before)


def test_a_lora_in_diffusers_own_file(tmp_path: Path) -> None:
    pipe, directory = tiny.save(tmp_path)
    adapted = peft_adapter(pipe, tmp_path / "anime")
    from peft.utils import get_peft_model_state_dict

    layers = {k.removeprefix("base_model.model."): v for k, v in get_peft_model_state_dict(adapted).items()}
    StableDiffusionPipeline.save_lora_weights(tmp_path / "file", unet_lora_layers=layers)
    file = tmp_path / "file" / "pytorch_lora_weights.safetensors"
    control = edges(1)
    folder = ours(directory, loras=[f"anime={tmp_path / 'anime'}"])
    single = ours(directory, loras=[f"anime={file}"])
    # Such a file doesn't say its alpha, so its change is taken as it is: 6/4 of it is what the folder says.
    assert torch.allclose(
        folder(control, [FIRST.replace(lora="anime", lora_scale=1.0)]),
        single(control, [FIRST.replace(lora="anime", lora_scale=1.5)]),
        atol=1e-4,
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_the_same_picture_coarsely(saved: tuple, dtype: torch.dtype) -> None:
    control = edges(1)
    mine = ours(saved[1], dtype=dtype)
    assert mine.dtype == dtype
    picture = mine(control, [FIRST])
    assert picture.dtype == dtype
    assert (picture.float() - ours(saved[1])(control, [FIRST])).abs().mean() <= 0.02
