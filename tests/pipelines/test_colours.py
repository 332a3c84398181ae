"""The camera's colours in the starting noise: the low band comes from the picture, the rest stays noise."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

from pipelines import SDXSPipeline, Settings
from pipelines.colours import BAND, ColourEncoder, ColourEntry, enter, normalise
from pipelines.subpixel import AutoencoderSubpixel
from tests.pipelines import families, tiny
from tests.pipelines.test_sdxs import edges


@pytest.mark.parametrize("make", [tiny.vae, families.kl_vae, lambda: families.kl_vae(use_quant_conv=False)])
def test_the_band_is_what_the_models_own_encoder_gives(make: object) -> None:
    torch.manual_seed(5)
    vae = make()  # type: ignore[operator]
    pictures = torch.randint(0, 256, (2, 32, 64, 3), dtype=torch.uint8)
    given = normalise(pictures, torch.float32)
    assert (given.min().item(), given.max().item()) == (-1.0, 1.0)
    encoded = vae.encode(given)
    theirs = encoded.latent_dist.mode() if isinstance(vae, AutoencoderKL) else encoded.latents
    ours = ColourEncoder(vae)(given)
    assert torch.allclose(ours, theirs * vae.config.scaling_factor, atol=1e-5)


def test_a_sub_pixel_encoder_gives_the_enlarged_picture_latent_by_latent() -> None:
    torch.manual_seed(5)
    vae = AutoencoderSubpixel()
    encoder = ColourEncoder(vae)
    given = normalise(torch.randint(0, 256, (2, 16, 32, 3), dtype=torch.uint8), torch.float32)
    large = F.interpolate(given, scale_factor=4, mode="bilinear", align_corners=False)
    assert encoder.band == 1
    assert torch.allclose(encoder(given), vae.encode(large).latents, atol=1e-5)
    noise = torch.randn(2, 48, 8, 16)
    entered = ColourEntry(encoder)(noise, given, torch.tensor([0.25, 1.0]))
    assert torch.allclose(entered[0], 0.75 * noise[0] + 0.25 * encoder(given)[0], atol=1e-5)
    assert torch.allclose(entered[1], encoder(given)[1], atol=1e-5)


def test_strength_exchanges_the_low_band_only() -> None:
    noise = torch.randn(2, 4, 64, 64, generator=torch.Generator().manual_seed(1))
    colours = torch.ones(2, 4, 16, 16)
    mixed = enter(noise, colours, torch.tensor([0.0, 1.0]))
    assert torch.equal(mixed[0], noise[0])
    band = F.avg_pool2d(mixed[1:], 4 * BAND)
    assert band.mean() == pytest.approx(1 / BAND, abs=0.02)
    assert band.std() < 0.5 * F.avg_pool2d(noise[1:], 4 * BAND).std()
    assert (mixed[1] - mixed[1].mean()).std() == pytest.approx(1.0, abs=0.06)


@pytest.fixture(scope="module")
def painter(saved: tuple) -> SDXSPipeline:
    directory: Path = saved[1]
    return SDXSPipeline.from_pretrained(directory, backend="eager", device="cpu")


def test_colours_reach_only_the_samples_that_ask_for_them(painter: SDXSPipeline) -> None:
    settings = [Settings(prompt="a"), Settings(prompt="a", init_strength=0.8)]
    red, blue = (torch.zeros(2, 32, 32, 3, dtype=torch.uint8) for _ in range(2))
    red[..., 0], blue[..., 2] = 255, 255
    maps = edges(2)
    plain, with_red, with_blue = (painter(maps, settings, colours=colours) for colours in (None, red, blue))
    assert torch.equal(plain[0], with_red[0])
    assert not torch.allclose(plain[1], with_red[1], atol=1e-2)
    # The random encoder tells colours apart only faintly.
    assert (with_red[1] - with_blue[1]).abs().max() > 1e-4
