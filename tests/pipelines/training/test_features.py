"""Features of a U-Net's stages, against a forward pass written out."""

from __future__ import annotations

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from pipelines.training.features import encoder_features, recorded, shared_blocks
from pipelines.training.model import Words, predict
from pipelines.training.removal import TO_SDXS_512, Removal, student_of
from tests.pipelines.training import tiny_teacher


@pytest.fixture(scope="module")
def unet() -> UNet2DConditionModel:
    torch.manual_seed(0)
    return tiny_teacher.unet().double()


@pytest.fixture
def given() -> tuple[Tensor, Tensor, Words]:
    torch.manual_seed(1)
    noisy = torch.randn(2, 4, 8, 8, dtype=torch.float64)
    return noisy, torch.tensor([10, 900]), Words(tokens=torch.randn(2, 5, 32, dtype=torch.float64))


def hooks(module: nn.Module) -> int:
    return sum(len(each._forward_hooks) + len(each._forward_pre_hooks) for each in module.modules())


def written_out(unet: UNet2DConditionModel, noisy: Tensor, t: Tensor, words: Words) -> list[Tensor]:
    """The encoder as the U-Net's own parts give it, layer by layer; of each stage what its last layer gives."""
    emb = unet.time_embedding(unet.time_proj(t).double())
    sample, found = unet.conv_in(noisy), []
    for block in unet.down_blocks:
        attentions = getattr(block, "attentions", [None] * len(block.resnets))
        for resnet, attention in zip(block.resnets, attentions, strict=True):
            sample = resnet(sample, emb)
            if attention is not None:
                sample = attention(sample, encoder_hidden_states=words.tokens, return_dict=False)[0]
        found.append(sample)
        for downsampler in block.downsamplers or []:
            sample = downsampler(sample)
    return found


def test_encoder_features_are_those_of_the_forward_pass(
    unet: UNet2DConditionModel, given: tuple[Tensor, Tensor, Words]
) -> None:
    found = encoder_features(unet, *given)
    assert [tuple(each.shape[1:]) for each in found] == [(16, 8, 8), (32, 4, 4), (32, 2, 2), (32, 1, 1)]
    for ours, plain in zip(found, written_out(unet, *given), strict=True):
        torch.testing.assert_close(ours, plain)
    assert hooks(unet) == 0


def test_the_decoder_is_not_run_for_the_encoders_features(
    unet: UNet2DConditionModel, given: tuple[Tensor, Tensor, Words]
) -> None:
    called: list[nn.Module] = []
    watched = [unet.mid_block, *unet.up_blocks, unet.conv_out]
    handles = [module.register_forward_hook(lambda module, *_: called.append(module)) for module in watched]
    encoder_features(unet, *given)
    assert not called
    predict(unet, *given)
    assert len(called) == len(watched)
    for handle in handles:
        handle.remove()


def test_gradients_pass(unet: UNet2DConditionModel, given: tuple[Tensor, Tensor, Words]) -> None:
    noisy, t, words = given
    asked = noisy.clone().requires_grad_()
    (from_hooks,) = torch.autograd.grad(
        sum(each.square().sum() for each in encoder_features(unet, asked, t, words)), asked
    )
    (plain,) = torch.autograd.grad(sum(each.square().sum() for each in written_out(unet, asked, t, words)), asked)
    torch.testing.assert_close(from_hooks, plain)


def test_a_students_encoder_without_a_mid_block(given: tuple[Tensor, Tensor, Words]) -> None:
    torch.manual_seed(0)
    student = student_of(tiny_teacher.unet(), TO_SDXS_512).double()
    for ours, plain in zip(encoder_features(student, *given), written_out(student, *given), strict=True):
        torch.testing.assert_close(ours, plain)
    assert hooks(student) == 0


@pytest.mark.parametrize(
    ("removal", "count"),
    [
        (TO_SDXS_512, 6),
        (Removal(drop_mid_block=False), 6),
        (Removal(drop_last_stage=False), 8),
        (Removal(drop_last_stage=False, drop_mid_block=False), 9),
    ],
)
def test_teacher_and_student_are_compared_where_they_are_of_one_shape(
    unet: UNet2DConditionModel, given: tuple[Tensor, Tensor, Words], removal: Removal, count: int
) -> None:
    student = student_of(unet, removal)
    pairs = shared_blocks(unet, student)
    with recorded(unet, [name for name, _ in pairs]) as theirs, recorded(student, [name for _, name in pairs]) as ours:
        predict(unet, *given)
        predict(student, *given)
    assert len(pairs) == count
    assert [theirs[name].shape for name, _ in pairs] == [ours[name].shape for _, name in pairs]


def test_what_the_last_up_stage_gives_is_what_the_output_is_made_of(
    unet: UNet2DConditionModel, given: tuple[Tensor, Tensor, Words]
) -> None:
    with recorded(unet, ["up_blocks.3"]) as found:
        output = predict(unet, *given)
    made = unet.conv_out(unet.conv_act(unet.conv_norm_out(found["up_blocks.3"])))
    torch.testing.assert_close(made, output)


def test_the_hooks_go_even_when_the_forward_pass_fails(unet: UNet2DConditionModel) -> None:
    words = Words(tokens=torch.randn(1, 5, 7, dtype=torch.float64))
    with pytest.raises(RuntimeError), recorded(unet, ["mid_block"]):
        predict(unet, torch.randn(1, 4, 8, 8, dtype=torch.float64), torch.tensor([1]), words)
    with pytest.raises(RuntimeError):
        encoder_features(unet, torch.randn(1, 4, 8, 8, dtype=torch.float64), torch.tensor([1]), words)
    assert hooks(unet) == 0
