"""Feature matching, and the networks whose features may be matched."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torchvision.models.vgg import cfgs, make_layers
from transformers import Dinov2Config, Dinov2Model

from pipelines.errors import TrainingError
from pipelines.training.features import encoder_features
from pipelines.training.losses.feature_matching import UNetEncoder, feature_matching
from pipelines.training.losses.networks import MEAN, STD, VGG_LAYERS, open_features
from pipelines.training.losses.ssim import ssim
from pipelines.training.model import Model, Words
from tests.pipelines.training import tiny_teacher

T = torch.tensor([20, 900])


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model.load(tiny_teacher.save(tmp_path_factory.mktemp("teacher")))


@pytest.fixture(scope="module")
def words(teacher: Model) -> Words:
    return teacher.words(["a", "b"])


def test_is_the_weighted_sum_of_what_each_layer_lacks_in_likeness() -> None:
    sizes = [(3, 8, 8), (5, 4, 4), (7, 1, 1)]
    ours, theirs = ([normal(2, *size, seed=seed + 10 * i) for i, size in enumerate(sizes)] for seed in (1, 2))
    weights = [1.0, 0.5, 2.0]
    lacks = [[1 - float(ssim(a[i : i + 1], b[i : i + 1])) for a, b in zip(ours, theirs, strict=True)] for i in range(2)]
    expected = [sum(w * lack for w, lack in zip(weights, own, strict=True)) for own in lacks]
    assert feature_matching(ours, theirs, weights=weights).tolist() == pytest.approx(expected)
    assert feature_matching(ours, theirs).tolist() == pytest.approx([sum(own) / 3 for own in lacks])
    assert feature_matching(theirs, theirs).tolist() == pytest.approx([0, 0])


def test_the_unets_encoder_sees_both_pictures_under_the_same_noise(teacher: Model, words: Words) -> None:
    latents, noise = normal(2, 4, 8, 8, seed=1).float(), normal(2, 4, 8, 8, seed=2).float()
    found = UNetEncoder(teacher)(latents, noise, T, words)
    noisy = torch.stack(
        [
            teacher.diffusion.alphas_bar[t].sqrt() * latents[i]
            + (1 - teacher.diffusion.alphas_bar[t]).sqrt() * noise[i]
            for i, t in enumerate(T.tolist())
        ]
    ).float()
    expected = encoder_features(teacher.unet, noisy, T, words)
    assert len(found) == 4
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(found, expected, strict=True))


def test_gradients_through_the_encoder_agree_with_finite_differences(tmp_path: Path) -> None:
    teacher = Model.load(tiny_teacher.save(tmp_path))
    teacher.unet.double().requires_grad_(False)
    words = Words(tokens=teacher.words(["a", "b"]).tokens.double())
    features, noise = UNetEncoder(teacher), normal(2, 4, 8, 8, seed=2)
    target = features(normal(2, 4, 8, 8, seed=3), noise, T, words)
    latents, direction = normal(2, 4, 8, 8, seed=1).requires_grad_(True), normal(2, 4, 8, 8, seed=4)

    def loss(x: Tensor) -> Tensor:
        return feature_matching(features(x, noise, T, words), target).sum()

    (gradient,) = torch.autograd.grad(loss(latents), latents)
    step = 1e-4
    with torch.no_grad():
        slope = (loss(latents + step * direction) - loss(latents - step * direction)) / (2 * step)
    assert float((gradient * direction).sum()) == pytest.approx(float(slope), rel=1e-4)


def test_a_vggs_features_are_those_after_its_last_activations(teacher: Model, words: Words, tmp_path: Path) -> None:
    torch.manual_seed(0)
    layers = make_layers(cfgs["D"], batch_norm=False)
    weights = {f"features.{name}": value for name, value in layers.state_dict().items()}
    save_file(weights, tmp_path / "vgg.safetensors")
    torch.save(weights, tmp_path / "vgg.pth")
    latents = normal(1, 4, 4, 4).float().requires_grad_(True)
    noise = torch.zeros(1, 4, 4, 4)
    found = open_features(f"vgg:{tmp_path / 'vgg.safetensors'}", teacher)(latents, noise, T[:1], words)
    picture = (teacher.decode(latents) + 1) / 2
    maps = (picture - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
    expected = []
    for number, layer in enumerate(layers):
        maps = torch.relu(maps) if isinstance(layer, torch.nn.ReLU) else layer(maps)
        if number in VGG_LAYERS:
            expected.append(maps)
    assert [each.shape[1:] for each in found] == [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4), (512, 2, 2)]
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(found, expected, strict=True))
    feature_matching(found, [each + 0.1 for each in found]).sum().backward()  # type: ignore[no-untyped-call]
    assert latents.grad is not None
    assert latents.grad.any()
    again = open_features(f"vgg:{tmp_path / 'vgg.pth'}", teacher)(latents, noise, T[:1], words)
    assert all(torch.equal(a, b) for a, b in zip(found, again, strict=True))


def test_a_dinov2s_features_are_its_patches(teacher: Model, words: Words, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Dinov2Model(
        Dinov2Config(hidden_size=16, num_hidden_layers=8, num_attention_heads=2, image_size=28, patch_size=14)
    ).eval()
    network.save_pretrained(tmp_path / "dino")
    latents = normal(2, 4, 8, 8).float().requires_grad_(True)
    found = open_features(f"dinov2:{tmp_path / 'dino'}", teacher)(latents, latents, T, words)
    assert [tuple(each.shape) for each in found] == [(2, 16, 5, 5)] * 4  # 64 pixels are nearest to 5 patches of 14
    last = found[-1].detach().flatten(2).transpose(1, 2)
    picture = (teacher.decode(latents) + 1) / 2
    picture = (picture - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
    picture = torch.nn.functional.interpolate(picture, (70, 70), mode="bilinear", align_corners=False, antialias=True)
    states = network(picture, output_hidden_states=True).hidden_states
    assert torch.allclose(last, states[8][:, 1:], atol=1e-5)
    assert torch.allclose(found[0].flatten(2).transpose(1, 2), states[2][:, 1:], atol=1e-5)
    feature_matching(found, [each + 0.1 for each in found]).sum().backward()  # type: ignore[no-untyped-call]
    assert latents.grad is not None
    assert latents.grad.any()


def wrong(tmp_path: Path) -> Sequence[tuple[str, str]]:
    (tmp_path / "empty.pth").write_bytes(b"")
    (tmp_path / "text.safetensors").write_bytes(b"no weights")
    save_file({"features.0.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{")
    return [
        ("clip", "not known; use unet, vgg:FILE"),
        ("vgg", "not known"),
        ("vgg:" + str(tmp_path / "none.pth"), "There is no file"),
        ("vgg:" + str(tmp_path / "empty.pth"), "can't be read as weights"),
        ("vgg:" + str(tmp_path / "text.safetensors"), "can't be read as weights"),
        ("vgg:" + str(tmp_path / "other.safetensors"), "doesn't hold torchvision's VGG-16"),
        ("dinov2:" + str(tmp_path / "none"), "no DINOv2 in"),
        ("dinov2:" + str(tmp_path / "broken"), "can't be loaded"),
    ]


def test_what_cannot_be_used_is_said_in_one_sentence(teacher: Model, tmp_path: Path) -> None:
    for spec, message in wrong(tmp_path):
        with pytest.raises(TrainingError, match=message) as caught:
            open_features(spec, teacher)
        assert "\n" not in str(caught.value), spec
