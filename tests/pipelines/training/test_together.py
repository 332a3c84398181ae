"""A recipe whose U-Net and ControlNet learn together, from encoded pictures, through all its stages."""

import dataclasses
import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file

from pipelines.backends.quantised import FOLDER
from pipelines.colours import BAND
from pipelines.errors import TrainingError, TrainingStopped
from pipelines.presets import read_preset
from pipelines.sdxs import SDXSPipeline
from pipelines.settings import Settings
from pipelines.training.coupled import words_of
from pipelines.training.data.encoded import Encoded, ensure_encoded
from pipelines.training.journal import VALIDATION, read_journal
from pipelines.training.launch import launch
from pipelines.training.model import Model
from pipelines.training.run import Run
from pipelines.training.ship import is_shipped, ship
from pipelines.training.shipped import PRESETS
from pipelines.training.times import read_times
from pipelines.training.train import train
from pipelines.travel import slerp
from tests.pipelines.training.small_world import small_world
from tests.pipelines.training.tiny_together import NETWORKS, few_pictures, tiny_together

ROOT = Path(__file__).parents[3]
_UNET = Path("unet/diffusion_pytorch_model.safetensors")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    recipe = tiny_together(small_world(tmp_path_factory.mktemp("world")))
    run = Run(folder=tmp_path_factory.mktemp("together") / "run", recipe=recipe)
    with few_pictures():
        train("teacher", run)
    return run


@pytest.fixture(scope="module")
def encoded(run: Run) -> tuple[Encoded, Encoded]:
    return ensure_encoded(run, Model.load(run.folder / "teacher" / "model"), device=torch.device("cpu"))


def test_the_stages_leave_a_model_that_paints_live(run: Run) -> None:
    for stage in ("decoder", "unet", "one-step", "controlnet"):
        train(stage, run)
    folder = run.folder / "controlnet" / "model"
    assert [control.kind for control in read_preset(folder).controls] == ["canny", "sketch"]
    pipeline = SDXSPipeline.from_pretrained(folder, backend="eager", device="cpu")
    maps = torch.zeros(1, 1, 3, 128, 128)
    maps[..., 60:64, :] = 1
    settings = Settings(prompt="ink drawing", control="canny")
    painted = pipeline(maps, [settings])
    assert painted.shape == (1, 3, 128, 128)
    assert not torch.equal(painted, pipeline(maps, [settings.replace(conditioning_scale=0.0)])), "the map is not heard"


def test_a_stage_in_pieces_gives_the_weights_of_one_that_went_through(run: Run, tmp_path: Path) -> None:
    """The time is up before each step, so that a piece is one step; the last piece only writes the model."""
    pieces = dataclasses.replace(run, folder=tmp_path / "run", ends=time.monotonic() - 1)
    for part in ("teacher", "one-step", "encoded"):
        shutil.copytree(run.folder / part, pieces.folder / part)
    for step in (1, 2):
        with pytest.raises(TrainingStopped, match=f"Stopped at step {step} of 2 of controlnet; everything is saved"):
            train("controlnet", pieces)
    train("controlnet", pieces)
    assert [line["step"] for line in read_journal(pieces.folder / "controlnet", VALIDATION)] == [0, 2]
    control = Path("controlnet/diffusion_pytorch_model.safetensors")
    whole, parts = (load_file(each.folder / "controlnet" / "model" / control) for each in (run, pieces))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    taken = read_times(pieces.folder)
    assert {part for parts in taken.values() for part in parts} == {"controlnet/data", "controlnet"}


def test_finished_phases_are_passed_over(run: Run, tmp_path: Path) -> None:
    """As they are in every piece after them; their model is the one that the next phase began with."""
    again = dataclasses.replace(run, folder=tmp_path / "run")
    for part in ("teacher", "encoded"):
        shutil.copytree(run.folder / part, again.folder / part)
    shutil.rmtree(again.folder / "teacher" / "model")
    parts = [again.folder / "teacher" / part / "model" / _UNET for part in ("autoencoder", "small", "whole")]
    before = [part.stat().st_mtime_ns for part in parts]
    train("teacher", again)
    assert again.has("teacher")
    assert [part.stat().st_mtime_ns for part in parts] == before


def test_a_launcher_that_starts_one_process_of_several_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from pipelines.training import train as module

    monkeypatch.setattr(module, "PartialState", lambda cpu: "joined")
    for name in ("WORLD_SIZE", "MASTER_PORT", "ACCELERATE_USE_CPU"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")
    assert module.join() == "joined"
    assert not caplog.messages, "one was wanted"
    monkeypatch.setenv("MASTER_PORT", "29500")
    module.join()
    assert "torchrun starts several" in caplog.text
    caplog.clear()
    monkeypatch.setenv("WORLD_SIZE", "2")
    module.join()
    assert not caplog.messages


def test_what_ships_is_half_as_large_and_says_what_it_is(run: Run, tmp_path: Path) -> None:
    model, target = run.folder / "controlnet" / "model", tmp_path / "embedded"
    (target / FOLDER).mkdir(parents=True)
    (target / FOLDER / "form.json").write_text("of other weights")
    (target / "README.md").write_text("the card")
    assert not is_shipped(model, target)
    ship(model, target)
    assert is_shipped(model, target)
    theirs = StableDiffusionPipeline.from_pretrained(target, safety_checker=None)
    assert type(theirs.vae).__name__ == "AutoencoderSubpixel"  # named by its module, which diffusers has not
    assert not (target / FOLDER).exists()
    assert (target / "README.md").read_text() == "the card"
    stored = load_file(target / _UNET)
    assert {value.dtype for value in stored.values()} == {torch.float16}
    preset = read_preset(target)
    assert (preset.name, preset.licence) == ("embedded", "Apache-2.0")
    assert [control.kind for control in preset.controls] == ["canny", "sketch"]
    assert [style.prompt for style in preset.styles] == [prompt for _, prompt in PRESETS]
    pipeline = SDXSPipeline.from_pretrained(target, backend="eager", device="cpu")
    maps = torch.zeros(1, 1, 3, 128, 128)
    before = SDXSPipeline.from_pretrained(model, backend="eager", device="cpu")(maps, [preset.defaults])
    assert (pipeline(maps, [preset.defaults]) - before).abs().max() < 0.02, "half precision changes little"
    assert not is_shipped(run.folder / "one-step" / "model", target), "its ControlNet is another"
    with pytest.raises(TrainingError, match="train all stages first"):
        ship(run.folder / "gan-finetune" / "model", target)


def test_the_student_is_the_teacher_without_blocks_and_encodes_as_its_teacher_does(run: Run) -> None:
    teacher, student = (Model.load(run.folder / stage / "model") for stage in ("teacher", "controlnet"))
    assert len(student.unet.down_blocks) == 3
    assert student.unet.mid_block is None
    assert sum(p.numel() for p in student.unet.parameters()) < sum(p.numel() for p in teacher.unet.parameters()) / 2
    picture = torch.rand(1, 3, 64, 64) * 2 - 1
    torch.testing.assert_close(student.encode(picture), teacher.encode(picture), rtol=1e-4, atol=1e-5)


def test_a_pair_may_learn_to_read_and_its_controlnet_keeps_to_that(run: Run) -> None:
    teachers, pairs, last = (
        Model.load(run.folder / stage / "model").text_encoders[0].state_dict()
        for stage in ("teacher", "one-step", "controlnet")
    )
    assert any(not torch.equal(pairs[name], value) for name, value in teachers.items())
    assert all(torch.equal(pairs[name], value) for name, value in last.items())


def test_captions_tell_what_their_pictures_look_like(run: Run) -> None:
    lines = (run.folder / "teacher" / "words" / "log.jsonl").read_text().splitlines()
    losses = [json.loads(line)["loss"] for line in lines]
    assert losses[-1] < 0.7 * losses[0], losses


def test_noise_carries_the_low_band_that_the_picture_was_drawn_with(encoded: tuple[Encoded, Encoded]) -> None:
    train, _ = encoded
    bands = [train._read("bands", index).float() for index in range(20)]
    cameras = [bool(train._read("cameras", index)) for index in range(20)]
    assert any(cameras)
    assert not all(cameras)
    for index, band in enumerate(bands):
        if cameras[index]:
            continue
        low = torch.nn.functional.avg_pool2d(train[index]["noise"][None], BAND)[0] * BAND
        # Between the cells' middles the band is interpolated, so their means are near it and not equal; of 128
        # numbers that have nothing to do with each other a correlation of 0.36 is four deviations.
        apart = (torch.corrcoef(torch.stack([low.flatten(), band.flatten()]))[0, 1]).item()
        assert apart > 0.6, f"{index} is correlated by {apart:.2f} only"


def test_noise_carries_the_colours_of_the_camera_that_the_picture_keeps(encoded: tuple[Encoded, Encoded]) -> None:
    train, _ = encoded
    kept = [index for index in range(40) if bool(train._read("cameras", index))]
    assert len(kept) >= 4
    shares = []
    for index in kept:
        seen, noise = train._read("colours", index).float(), train[index]["noise"]
        assert seen.shape == noise.shape  # latent by latent, as the autoencoder is a sub-pixel one
        # At least three tenths of each are the camera's; the rest is normal, and has nothing to do with it.
        shares.append(float((seen * noise).sum() / (seen * seen).sum()))
        assert 0.15 < shares[-1] < 1.15, f"{index} carries {shares[-1]:.2f} of its camera's colours"
    whole = [torch.allclose(train[index]["noise"], train._read("colours", index).float(), atol=1e-3) for index in kept]
    assert any(whole)
    assert not all(whole)


def test_a_square_of_the_noise_is_of_the_same_place_as_its_colours(encoded: tuple[Encoded, Encoded]) -> None:
    train, _ = encoded
    index = next(index for index in range(40) if bool(train._read("cameras", index)))
    rng = np.random.default_rng(3)
    square = train._noise(index, (8, 4), (8, 8, 8), rng)
    seen = train._read("colours", index).float()[:, 8:16, 4:12]
    assert torch.corrcoef(torch.stack([square.flatten(), seen.flatten()]))[0, 1] > 0.2


def test_a_pair_shares_map_and_band_and_can_be_mixed(encoded: tuple[Encoded, Encoded]) -> None:
    train, _ = encoded
    one, other = train[4], train[5]
    assert torch.equal(one["map"], other["map"])
    assert one["scale"] == other["scale"]
    assert not torch.equal(one["latents"], other["latents"])
    mixed = [index for index in range(70) if train[index]["blend"] > 0]
    assert 20 < len(mixed) < 50
    for index in range(70):
        sample, neighbour = train[index], train.prompts[index ^ 1]
        assert sample["prompt_b"] == (neighbour if index in mixed else "")
    assert len({float(train[index]["blend"]) for index in mixed}) == len(mixed)


def test_a_mixed_sample_was_drawn_on_its_way_to_its_neighbour(encoded: tuple[Encoded, Encoded]) -> None:
    """Which is whole where it is not mixed itself."""
    train, _ = encoded
    pairs = [index for index in range(70) if train[index]["blend"] > 0.8 and train[index ^ 1]["blend"] == 0]
    assert pairs
    for index in pairs:
        pictures = [train._read("pictures", each).float() for each in (index, index ^ 1)]
        assert (pictures[0] - pictures[1]).abs().mean() < 30


def test_more_depths_come_where_they_are_asked_for(encoded: tuple[Encoded, Encoded]) -> None:
    def share(depths: float) -> float:
        maps = [train.at(position, seed=2, depths=depths)["map"] for position in range(30)]
        return float(np.mean([len(drawn.unique()) > 40 for drawn in maps]))

    train, _ = encoded
    assert 0 < share(0.0) < 0.4 < share(0.6) < share(1.0) == 1


def test_more_between_two_styles_come_where_they_are_asked_for(encoded: tuple[Encoded, Encoded]) -> None:
    train, _ = encoded
    shares = [
        np.mean([float(train.at(position, seed=2, between=between)["blend"]) > 0 for position in range(30)])
        for between in (0.0, 0.6, 1.0)
    ]
    assert 0 < shares[0] < shares[1] < shares[2] == 1


def test_a_square_is_cut_at_the_same_place_from_all(encoded: tuple[Encoded, Encoded]) -> None:
    train, _ = encoded
    seen = train.at(7, seed=1, crop=8)
    assert seen["latents"].shape == seen["noise"].shape == (8, 8, 8)
    assert seen["map"].shape == (3, 64, 64)
    again = train.at(7, seed=1, crop=8)
    assert all(torch.equal(seen[name], again[name]) for name in ("noise", "latents", "map"))


def test_what_was_encoded_is_kept_and_a_lost_shard_is_made_again(run: Run, encoded: tuple[Encoded, Encoded]) -> None:
    train, _ = encoded
    before, kept = train[69]["latents"], train.file(0).stat().st_mtime_ns
    train.file(1).unlink()
    model = Model.load(run.folder / "teacher" / "model")
    with pytest.raises(TrainingStopped, match="goes on encoding"):
        ensure_encoded(dataclasses.replace(run, ends=time.monotonic() - 1), model, device=torch.device("cpu"))
    assert not train.file(1).is_file()
    again, _ = ensure_encoded(run, model, device=torch.device("cpu"))
    assert torch.equal(again[69]["latents"], before)
    assert train.file(0).stat().st_mtime_ns == kept


def test_pictures_of_another_autoencoder_are_refused(run: Run, encoded: tuple[Encoded, Encoded]) -> None:
    model = Model.load(run.folder / "teacher" / "model")
    with torch.no_grad():
        next(model.vae.decoder.parameters()).mul_(2)
    ensure_encoded(run, model, device=torch.device("cpu"))  # the decoder, which learns on, makes none of them
    with torch.no_grad():
        next(model.vae.encoder.parameters()).mul_(2)
    with pytest.raises(TrainingError, match=r"made with encoder .*: delete that folder"):
        ensure_encoded(run, model, device=torch.device("cpu"))


def test_two_processes_whose_clocks_differ_stop_encoding_together(run: Run, tmp_path: Path) -> None:
    """The first's time is up at once, the second's never: it must not wait for who has gone."""
    folder = tmp_path / "run"
    shutil.copytree(run.folder / "teacher", folder / "teacher")
    script = f"""
import math, os, sys
from pathlib import Path
import torch
from pipelines.errors import TrainingStopped
from pipelines.training.data.encoded import ensure_encoded
from pipelines.training.model import Model
from pipelines.training.run import Run
from pipelines.training.train import join, leave
from tests.pipelines.training.tiny_together import few_pictures, tiny_together
ends = 0.0 if os.environ["RANK"] == "0" else math.inf
run = Run(folder=Path({str(folder)!r}), recipe=tiny_together(Path({run.recipe.data[6:]!r})), ends=ends)
assert join().num_processes == 2
try:
    with few_pictures():
        ensure_encoded(run, Model.load(run.folder / "teacher" / "model"), device=torch.device("cpu"))
except TrainingStopped:
    (run.folder / os.environ["RANK"]).touch()
leave()
"""
    environment = {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    assert launch(["-c", script], processes=2, environment=environment) == 0
    assert all((folder / rank).is_file() for rank in "01")
    made = {each.relative_to(folder / "encoded").as_posix() for each in folder.rglob("shard-*")}
    assert made == {"train/shard-00001.safetensors"}, "what was the second's to make"


def test_two_processes_remove_blocks_together(run: Run, tmp_path: Path) -> None:
    """Both need the model that one of them writes first."""
    folder = tmp_path / "run"
    shutil.copytree(run.folder, folder)
    shutil.rmtree(folder / "unet", ignore_errors=True)
    shutil.copytree(run.folder / "teacher" / "model", folder / "decoder" / "model", dirs_exist_ok=True)
    script = f"""
from pathlib import Path
from pipelines.training.run import Run
from pipelines.training.train import join, leave, train
from tests.pipelines.training.tiny_together import few_pictures, tiny_together
assert join().num_processes == 2
with few_pictures():
    train("unet", Run(folder=Path({str(folder)!r}), recipe=tiny_together(Path({run.recipe.data[6:]!r}))))
leave()
"""
    environment = {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    assert launch(["-c", script], processes=2, environment=environment) == 0
    assert (folder / "unet" / "model" / _UNET).is_file()


def test_prompts_are_blended_as_the_pipeline_blends_them(run: Run) -> None:
    model = Model.load(run.folder / "teacher" / "model")
    model.text_encoders[0].requires_grad_(True)
    batch = {"prompt": ["ink", "neon"], "prompt_b": ["", "comic book"], "blend": torch.tensor([0.0, 0.3])}
    words = words_of(model.text_encoders, model.tokenizers, batch).tokens
    ends = model.words(["ink", "neon", "comic book"]).tokens
    torch.testing.assert_close(words[0], ends[0])
    torch.testing.assert_close(words[1], slerp(ends[1], ends[2], 0.3, dim=-1), rtol=1e-4, atol=1e-5)
    words.sum().backward()
    found = [each.grad for each in model.text_encoders[0].parameters() if each.grad is not None]
    assert all(bool(each.isfinite().all()) for each in found)


def test_other_data_are_refused_in_a_sentence(run: Run) -> None:
    other = dataclasses.replace(run, data="shapes")
    with pytest.raises(TrainingError, match="only `drawn`"):
        ensure_encoded(other, Model.load(run.folder / "teacher" / "model"), device=torch.device("cpu"))


def test_maps_arrive_whole_at_a_fresh_controlnet() -> None:
    from pipelines.training import fresh

    torch.manual_seed(0)
    net = fresh.controlnet(NETWORKS, fresh.unet(NETWORKS, 16), 0.05).controlnet_cond_embedding
    drawn = (torch.rand(1, 1, 32, 32) > 0.8).float()
    with torch.no_grad():
        seen = torch.nn.functional.silu(net.conv_in(drawn.expand(-1, 3, -1, -1)))
        for block in net.blocks:
            seen = torch.nn.functional.silu(block(seen))
    wanted = torch.nn.functional.pixel_unshuffle(drawn, 8)[0].flatten(1)
    nearest = torch.cdist(wanted, seen[0].flatten(1)).min(1).values
    assert float(nearest.max()) < 0.05, "a pixel of the map is lost"
    np.testing.assert_allclose(float(seen[0, :64].sum()), float(drawn.sum()), rtol=0.02)
