"""Our pipeline against diffusers' own on the same weights, and what a batch of different settings must keep apart."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionControlNetPipeline

from pipelines import PipelineError, SDXSPipeline, Settings
from tests.pipelines import tiny

Saved = tuple[StableDiffusionControlNetPipeline, Path]
MIXED = (
    Settings(prompt="a cat", seed=1, conditioning_scale=0.8),
    Settings(prompt="b, dog", seed=2, conditioning_scale=0.0),
    Settings(prompt="", seed=3, conditioning_scale=1.5),
)


@pytest.fixture(scope="module", params=["eager", "openvino"])
def ours(request: pytest.FixtureRequest, saved: Saved) -> SDXSPipeline:
    return SDXSPipeline.from_pretrained(saved[1], backend=request.param, device="cpu")


def edges(count: int, height: int = 128, width: int = 128) -> torch.Tensor:
    generator = torch.Generator().manual_seed(7)
    return (torch.rand(count, 1, height, width, generator=generator) > 0.8).float().expand(-1, 3, -1, -1)


def theirs(pipe: StableDiffusionControlNetPipeline, control: torch.Tensor, settings: Settings) -> torch.Tensor:
    """One step of diffusers' pipeline, as its documentation says to run a one-step model."""
    return pipe(
        settings.prompt,
        image=control,
        num_inference_steps=1,
        guidance_scale=0.0,
        controlnet_conditioning_scale=settings.conditioning_scale,
        generator=torch.Generator().manual_seed(settings.seed),
        output_type="pt",
    ).images


@pytest.mark.parametrize("settings", MIXED)
def test_one_picture_is_diffusers_picture(saved: Saved, ours: SDXSPipeline, settings: Settings) -> None:
    control = edges(1)
    picture = ours(control, [settings])
    expected = theirs(saved[0], control, settings)
    assert expected.std() > 0.05, "the random model must paint something, or the comparison says nothing"
    assert (picture - expected).abs().max() <= 1e-3


def test_a_mixed_batch_is_the_single_pictures(saved: Saved, ours: SDXSPipeline) -> None:
    control = edges(3)
    batch = ours(control, MIXED)
    for i, settings in enumerate(MIXED):
        assert (batch[i : i + 1] - theirs(saved[0], control[i : i + 1], settings)).abs().max() <= 1e-3
        assert (batch[i : i + 1] - ours(control[i : i + 1], [settings])).abs().max() <= 1e-4


@pytest.mark.parametrize("size", [(64, 128), (192, 96), (256, 256)])
def test_other_sizes(saved: Saved, ours: SDXSPipeline, size: tuple[int, int]) -> None:
    control = edges(1, *size)
    picture = ours(control, MIXED[:1])
    assert picture.shape == (1, 3, *size)
    assert (picture - theirs(saved[0], control, MIXED[0])).abs().max() <= 1e-3


def test_prediction_types_and_polarity(tmp_path: Path) -> None:
    pipe, directory = tiny.save(tmp_path, prediction_type="v_prediction")
    (directory / "preset.json").write_text(
        '{"name": "t", "size": [128, 128], "controls": [{"kind": "canny", "polarity": "black on white"}]}'
    )
    control = edges(1)
    picture = SDXSPipeline.from_pretrained(directory, backend="eager", device="cpu")(control, MIXED[:1])
    assert (picture - theirs(pipe, 1 - control, MIXED[0])).abs().max() <= 1e-3


def test_a_still_picture_stays_still(ours: SDXSPipeline) -> None:
    control, settings = edges(1), [MIXED[0]]
    assert torch.equal(ours(control, settings), ours(control, settings))
    another_seed = [MIXED[0].replace(seed=99)]
    assert (ours(control, settings) - ours(control, another_seed)).abs().mean() > 0.01


def test_every_setting_reaches_the_picture(ours: SDXSPipeline) -> None:
    control, plain = edges(1), ours(edges(1), [MIXED[0]])
    changes: tuple[dict, ...] = (
        {"prompt": "zzz"},
        {"prompt_b": "zzz", "blend": 0.5},
        {"seed": 5},
        {"seed_b": 5, "seed_blend": 0.5},
        {"conditioning_scale": 0.1},
    )
    for change in changes:
        assert not torch.allclose(plain, ours(control, [MIXED[0].replace(change)]), atol=1e-3), change


def test_uint8_path_is_the_same_picture(ours: SDXSPipeline) -> None:
    control = edges(2)
    maps = (control[:, :1] * 255).to(torch.uint8)
    pictures = ours.paint_uint8(maps, MIXED[:2])
    assert pictures.shape == (2, 128, 128, 3)
    assert pictures.dtype == torch.uint8
    expected = ours(control, MIXED[:2]).permute(0, 2, 3, 1) * 255
    assert (pictures.float() - expected).abs().max() <= 0.51


def test_prompts_are_encoded_once(saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = SDXSPipeline.from_pretrained(saved[1], backend="eager", device="cpu")
    calls = []
    encoder = pipe._encode_prompt._parts[0][1]
    encoder.register_forward_hook(lambda *_: calls.append(1))
    walking = MIXED[0].replace(prompt_b="zzz")
    pipe.prepare(walking, size=(128, 128))
    for blend in (0.0, 0.5, 1.0):
        pipe(edges(1), [walking.replace(blend=blend)])
    assert len(calls) == 2


@pytest.mark.parametrize(
    ("maps", "settings", "word"),
    [
        (torch.zeros(1, 1, 64, 64), MIXED[:1], "B×3×H×W"),
        (torch.zeros(1, 2, 3, 64, 64), MIXED[:1], "take 1 maps a picture"),
        (torch.zeros(2, 3, 64, 64), [MIXED[0], MIXED[0].replace(control="none")], "same kinds of control"),
        (torch.zeros(1, 3, 64, 64), [MIXED[0].replace(control="depth")], "no ControlNet for depth; it has canny"),
        (torch.zeros(1, 3, 64, 64), [MIXED[0].replace(lora="anime")], "no LoRA 'anime' here"),
        (torch.zeros(1, 3, 64, 64, dtype=torch.uint8), MIXED[:1], "float"),
        (torch.zeros(2, 3, 64, 64), MIXED[:1], "one for each"),
        (torch.zeros(1, 3, 60, 64), MIXED[:1], "multiples of 32"),
    ],
)
def test_what_does_not_fit_is_said(ours: SDXSPipeline, maps: torch.Tensor, settings: list[Settings], word: str) -> None:
    with pytest.raises(PipelineError, match=word):
        ours(maps, settings)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"backend": "tensorrt"}, "tensorrt"),
        ({"device": "toaster"}, "toaster"),
        ({"device": "cuda:99"}, "cuda:99"),
        ({"device": "meta"}, "meta"),
    ],
)
def test_what_is_not_here_is_said(saved: Saved, options: dict, word: str) -> None:
    with pytest.raises(PipelineError, match=word):
        SDXSPipeline.from_pretrained(saved[1], **{"device": "cpu", **options})
