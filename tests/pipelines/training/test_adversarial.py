"""The game's losses against plain sums, its smoothness against true gradients, and who gets gradients of whom."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from pipelines.training.discriminators import FeatureHeads, PatchDiscriminator
from pipelines.training.losses.adversarial import discriminator_loss, frozen, game, generator_loss, r1


def _answers(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64)


def test_losses_are_the_sums_they_are_said_to_be() -> None:
    torch.manual_seed(0)
    real, fake, shifted = _answers(3, 1, 2, 2), _answers(3, 1, 2, 2), _answers(3, 1, 2, 2)
    made = [float(each) for each in fake.flatten()]
    true = [float(each) for each in real.flatten()]
    moved = [float(each) for each in shifted.flatten()]
    fooling = sum(-math.log(1 / (1 + math.exp(-each))) for each in made) / len(made)
    assert float(generator_loss(fake)) == pytest.approx(fooling, rel=1e-12)
    telling = sum(-math.log(1 - 1 / (1 + math.exp(-each))) for each in made) / len(made)
    telling += sum(-math.log(1 / (1 + math.exp(-each))) for each in true) / len(true)
    assert float(discriminator_loss(real, fake)) == pytest.approx(telling, rel=1e-12)
    steep = sum((a - b) ** 2 for a, b in zip(true, moved, strict=True)) / len(true) / 0.1**2
    assert float(r1(real, shifted, 0.1)) == pytest.approx(steep, rel=1e-12)
    found = game(real, fake, shifted, gamma=0.7, sigma=0.1)
    assert float(found["loss"]) == pytest.approx(telling + 0.7 * steep, rel=1e-12)
    assert float(found["fake"]) == pytest.approx(sum(made) / len(made), rel=1e-12)


def test_r1_is_the_squared_gradient_where_the_noise_is_small() -> None:
    """The penalty taken as a difference, over many draws, against autograd's gradient of each answer."""
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2)).double()
    inputs = _answers(4, 6).requires_grad_()
    answers = network(inputs)
    exact = 0.0
    for sample in range(4):
        for patch in range(2):
            (gradient,) = torch.autograd.grad(answers[sample, patch], inputs, retain_graph=True)
            exact += float(gradient.square().sum()) / 8
    many = inputs.detach().repeat(20_000, 1)
    found = float(r1(network(many), network(many + 1e-3 * torch.randn_like(many)), 1e-3).detach())
    assert found == pytest.approx(exact, rel=0.03)


def test_an_opponent_passes_gradients_on_and_keeps_none() -> None:
    torch.manual_seed(2)
    critic = PatchDiscriminator(4, latent_channels=4)
    pictures, latents = torch.randn(2, 3, 16, 16, requires_grad=True), torch.randn(2, 4, 2, 2)
    answers = frozen(critic, pictures, latents)
    assert torch.equal(answers, critic(pictures, latents))
    answers.sum().backward()
    assert pictures.grad is not None
    assert float(pictures.grad.abs().sum()) > 0
    assert all(each.grad is None for each in critic.parameters())
    assert all(each.requires_grad for each in critic.parameters()), "freezing is for the call alone"


def test_a_patch_discriminator_judges_each_patch_and_sample_on_its_own() -> None:
    torch.manual_seed(3)
    critic = PatchDiscriminator(4, latent_channels=4).double()
    pictures, latents = _answers(3, 3, 64, 64), _answers(3, 4, 8, 8)
    whole = critic.float()(pictures, latents)
    assert whole.shape == (3, 1, 8, 8)
    assert torch.allclose(whole[1:2], critic(pictures[1:2], latents[1:2]), atol=1e-6)
    far = pictures.clone()
    far[:, :, 60:, 60:] += 5
    changed = (critic(far, latents) - whole).abs().amax((0, 1)) > 1e-7
    assert changed[-1, -1]
    assert not changed[0, 0]
    assert not torch.equal(critic(pictures, latents.flip(0)), whole)
    unconditioned = PatchDiscriminator(4)
    assert torch.equal(unconditioned(pictures, latents), unconditioned(pictures, latents.flip(0)))


def test_heads_answer_for_every_place_of_every_feature() -> None:
    torch.manual_seed(4)
    heads = FeatureHeads([8, 16], 4)
    features = [torch.randn(2, 8, 4, 4), torch.randn(2, 16, 2, 2)]
    answers = heads(features)
    assert answers.shape == (2, 4 * 4 + 2 * 2)
    assert torch.allclose(heads([each[1:] for each in features]), answers[1:], atol=1e-6)
