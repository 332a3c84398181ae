"""The debug recipe from drawn pictures to a directory that diffusers loads; stages resume; bad input is answered."""

from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from pipelines.training import portraits, stages
from pipelines.training.__main__ import app
from pipelines.training.data import random_crop, webcam_edges
from pipelines.training.picture import open_pipeline, paint
from pipelines.training.recipes import DEBUG

pytestmark = pytest.mark.filterwarnings("ignore")  # third-party deprecations while loading


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Canvases of drawn people: what the real ones are made of, without the downloads."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    canvases = [portraits.portrait(portraits.plain_ground(256, rng), rng) for _ in range(DEBUG.canvases)]
    np.save(folder / "canvases.npy", np.stack(canvases))
    return folder


@pytest.fixture(scope="module")
def run(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    for stage in stages.STAGES:
        losses = stages.train(stage, DEBUG, pictures, out)
        assert np.isfinite(losses).all()
    return out


def test_the_debug_recipe_ends_in_a_directory_that_diffusers_loads(run: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["export", str(tmp_path / "model"), "--recipe", "debug", "--out", str(run)])
    assert result.exit_code == 0, result.output
    pipeline = open_pipeline(tmp_path / "model")
    edges = webcam_edges(portraits.plain_ground(64, np.random.default_rng(3)), np.random.default_rng(3))
    one, other = (paint(pipeline, edges, prompt, seed=1) for prompt in ("neon", "ink drawing"))
    assert one.shape == (64, 64, 3)
    assert (one != other).any()
    np.testing.assert_array_equal(one, paint(pipeline, edges, "neon", seed=1))


def test_the_export_is_the_painter_that_was_trained(run: Path, tmp_path: Path) -> None:
    """Diffusers' pipeline on the exported half-precision weights against the painter's own arithmetic."""
    stages.export_last(DEBUG, run, tmp_path / "model")
    painter = stages.load_painter(DEBUG, run, "finetune")
    pipeline = open_pipeline(tmp_path / "model")
    noise = torch.randn(1, DEBUG.latent_channels, 8, 8, generator=torch.Generator().manual_seed(5))
    edges = torch.zeros(1, 3, 64, 64)
    edges[..., 30, :] = 1
    with torch.no_grad():
        latents = painter.latents(edges, noise, ["neon sign"], torch.tensor([0.7]))
        expected = painter.vae.decoder(latents).div(2).add(0.5).clamp(0, 1)
    got = pipeline(
        "neon sign",
        image=edges,
        latents=noise,
        num_inference_steps=1,
        guidance_scale=0.0,
        controlnet_conditioning_scale=0.7,
        output_type="pt",
    ).images
    torch.testing.assert_close(got, expected, atol=2e-2, rtol=0)  # the weights went through half precision


@pytest.mark.parametrize("stage", ["autoencoder", "text", "edges", "one-step"])
def test_a_stage_cut_in_two_gives_the_losses_of_a_whole_one(
    stage: str, pictures: Path, run: Path, tmp_path: Path
) -> None:
    for folder in ("whole", "pieces"):
        (tmp_path / folder).mkdir()
        for earlier in stages.STAGES[: stages.STAGES.index(stage)]:
            (tmp_path / folder / earlier).symlink_to(run / earlier)
    torch.manual_seed(0)
    expected = stages.trainer(stage, DEBUG, pictures, tmp_path / "whole").run()
    losses = []
    for until in (3, None):
        torch.manual_seed(0)
        losses += stages.trainer(stage, DEBUG, pictures, tmp_path / "pieces").run(until=until)
    assert losses == pytest.approx(expected, rel=1e-4)


def test_wrong_input_is_one_sentence(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(stages.StageError, match="the stages are autoencoder"):
        stages.train("everything", DEBUG, pictures, tmp_path)
    with pytest.raises(stages.StageError, match="run the command prepare first"):
        stages.train("autoencoder", DEBUG, tmp_path, tmp_path)
    with pytest.raises(stages.StageError, match="train the stage autoencoder first"):
        stages.train("one-step", DEBUG, pictures, tmp_path)
    with pytest.raises(stages.StageError, match="run the command train first"):
        stages.export_last(DEBUG, tmp_path, tmp_path / "model")


def test_crops_and_edges_have_the_asked_size() -> None:
    rng = np.random.default_rng(1)
    canvas = portraits.portrait(portraits.plain_ground(256, rng), rng)
    for size in (64, 128, 256):
        crop = random_crop(canvas, size, rng)
        edges = webcam_edges(crop, rng)
        assert crop.shape == (size, size, 3)
        assert edges.shape == (size, size)
        assert set(np.unique(edges)) <= {0, 255}
