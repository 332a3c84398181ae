"""The sub-pixel autoencoder: begun with principal components, it gives back what these span, places included."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny, StableDiffusionControlNetPipeline, UNet2DConditionModel
from torch import Tensor

from pipelines import SDXSPipeline
from pipelines.presets import Preset
from pipelines.subpixel import AutoencoderSubpixel, start_with_components
from pipelines.training import fresh
from pipelines.training.data.decoded import with_encoder_of
from pipelines.training.text import build_tokenizer
from tests.pipelines.training.tiny_together import NETWORKS


def pictures(count: int = 6, side: int = 64) -> Tensor:
    """Lines and flats: B×3×H×W in [−1, 1]."""
    rng = np.random.default_rng(3)
    made = np.repeat(np.repeat(rng.uniform(-1, 1, (count, 3, side // 16, side // 16)), 16, 2), 16, 3)
    for picture in made:
        for _ in range(6):
            picture[:, rng.integers(side), :] = -1
            picture[:, :, rng.integers(side)] = 1
    return torch.from_numpy(made).float()


def begun(latents: int, given: Tensor, **sizes: int) -> AutoencoderSubpixel:
    torch.manual_seed(0)
    vae = AutoencoderSubpixel(latent_channels=latents, **sizes)
    start_with_components(vae, given)
    return vae.eval()


def again(vae: AutoencoderSubpixel, given: Tensor) -> Tensor:
    with torch.inference_mode():
        back: Tensor = vae.decode(vae.encode(given).latents).sample
    return back


def test_with_all_components_every_pixel_comes_back() -> None:
    given = pictures()
    assert (again(begun(192, given, channels=192), given) - given).abs().max() < 0.02


def test_with_fewer_what_comes_back_is_their_projection() -> None:
    given = pictures()
    blocks = torch.nn.functional.pixel_unshuffle(given.double(), 8).movedim(1, -1).reshape(-1, 192).numpy()
    mean = blocks.mean(0)
    _, _, axes = np.linalg.svd(blocks - mean, full_matrices=False)
    expected = (blocks - mean) @ axes[:20].T @ axes[:20] + mean
    back = torch.nn.functional.pixel_unshuffle(again(begun(20, given), given), 8).movedim(1, -1).reshape(-1, 192)
    assert np.abs(back.double().numpy() - expected).max() < 0.05
    assert np.abs(blocks - expected).mean() > 0.02, "or the test says nothing"


def test_it_says_the_same_whoever_begins_it() -> None:
    given = pictures()
    first, second = (begun(20, given).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_latents_are_ordered_by_what_they_tell() -> None:
    given = pictures()
    with torch.inference_mode():
        spread = begun(20, given).encoder(given).std(dim=(0, 2, 3))
    assert spread[:3].min() > 0.5
    assert spread.max() < 1.5
    assert spread[-1] < spread[2]


def test_equal_latents_can_be_a_pattern_which_repetition_and_convolution_never_draw() -> None:
    dots = torch.full((1, 3, 64, 64), -1.0)
    dots[..., 3::8, 3::8] = 1
    given = torch.cat([dots, -dots, torch.zeros_like(dots)])
    back = again(begun(4, given), dots)[..., 16:-16, 16:-16]
    assert (back - dots[..., 16:-16, 16:-16]).abs().max() < 0.1
    torch.manual_seed(0)
    flat = AutoencoderTiny(latent_channels=4).eval()
    with torch.inference_mode():
        inside = flat.decode(torch.ones(1, 4, 40, 40)).sample[..., 140:180, 140:180]
    assert inside.std(dim=(2, 3)).max() < 1e-4


def test_a_decoder_too_narrow_for_its_components_is_refused() -> None:
    with pytest.raises(ValueError, match="16 wide can't begin with 20"):
        begun(20, pictures(), channels=16)


def test_another_decoder_keeps_the_encoder() -> None:
    vae = begun(20, pictures())
    other = with_encoder_of(vae, 32, (1, 0, 0, 0))
    assert all(torch.equal(other.encoder.state_dict()[name], value) for name, value in vae.encoder.state_dict().items())
    assert sum(each.numel() for each in other.decoder.parameters()) < sum(
        each.numel() for each in vae.decoder.parameters()
    )
    same = with_encoder_of(vae, 64, (3, 0, 1, 0))
    assert all(torch.equal(same.state_dict()[name], value) for name, value in vae.state_dict().items())


@pytest.mark.filterwarnings("ignore")  # third-party deprecations while loading
def test_a_model_with_one_loads_here_and_in_diffusers(tmp_path: Path) -> None:
    vae = fresh.autoencoder(NETWORKS)
    start_with_components(vae, pictures())
    tokenizer = build_tokenizer(
        ["a cat", "a dog"] * 20, tmp_path / "tokenizer", NETWORKS.vocabulary, NETWORKS.text_length
    )
    model = tmp_path / "model"
    preset = Preset(name="tiny", size=(64, 64))
    fresh.save_fresh(model, NETWORKS, tokenizer, prediction="sample", preset=preset, vae=vae, seed=1)
    controlnet = fresh.controlnet(NETWORKS, UNet2DConditionModel.from_pretrained(model / "unet"), 0.05)
    controlnet.save_pretrained(model / "controlnet")
    ours = SDXSPipeline.from_pretrained(model, backend="eager", device="cpu")
    theirs = StableDiffusionControlNetPipeline.from_pretrained(
        model, controlnet=controlnet, safety_checker=None, requires_safety_checker=False
    )
    assert isinstance(theirs.vae, AutoencoderSubpixel)
    assert theirs.vae_scale_factor == 8
    latents = torch.randn(1, 8, 8, 8, generator=torch.Generator().manual_seed(1))
    scale = theirs.vae.config.scaling_factor
    with torch.inference_mode():
        expected = theirs.vae.decode(latents / scale, return_dict=False)[0]
        assert torch.allclose(ours._graph.decode(latents), expected, atol=1e-5)
