"""Fetching models from a hub on loopback: what is asked for, in which order, and what is said when it fails."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save

from pipelines.checkpoint import load_checkpoint
from pipelines.errors import CheckpointError, DownloadError, MisfitError, NoSuchModel
from pipelines.hub import Hub
from pipelines.locate import is_here, locate
from pipelines.lora import load_lora
from pipelines.parts import Network
from pipelines.presets import find_preset
from tests.pipelines.fake_hub import FakeHub, files_of

BASE, SKETCH, ANIME = (
    "IDKiro/sdxs-512-dreamshaper",
    "IDKiro/sdxs-512-dreamshaper-sketch",
    "IDKiro/SDXS-512-DreamShaper-Anime",
)
WEIGHTS = ".safetensors"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SDXS_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    return tmp_path / "models"


def adapter(layer: str = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q", width: int = 32) -> bytes:
    name = f"base_model.model.{layer}"
    return save({f"{name}.lora_A.weight": torch.zeros(4, width), f"{name}.lora_B.weight": torch.zeros(width, 4)})


@pytest.fixture
def hub(saved: tuple[Any, Path], folder: Path) -> Iterator[FakeHub]:
    """The published names, with a tiny model of the same shape behind them."""
    files = files_of(saved[1])
    base = {name: content for name, content in files.items() if not name.startswith("controlnet/")}
    extra = {"unet/diffusion_pytorch_model.bin": b"pickle", "README.md": b"# Read me", "images/a.png": b"png"}
    large = {name.replace("vae/", "vae_large/"): base[name] for name in base if name.startswith("vae/")}
    control = {name.split("/")[1]: content for name, content in files.items() if name.startswith("controlnet/")}
    lora = {"adapter_config.json": b"{}", "adapter_model.safetensors": adapter(), "optimizer.bin": b"pickle"}
    with FakeHub({BASE: {**base, **large, **extra}, SKETCH: control, ANIME: lora}) as running:
        yield running


def find(name: str, hub: FakeHub, **options: Any) -> Any:
    return locate(name, endpoint=hub.endpoint, **options)


def test_a_preset_arrives_as_plain_folders_and_a_second_time_asks_nothing(hub: FakeHub, folder: Path) -> None:
    preset = find_preset("sdxs-512-dreamshaper")
    assert preset is not None
    assert not is_here(preset)
    files = find("sdxs-512-dreamshaper", hub)
    assert files.directory == folder / BASE
    assert files.vae == folder / BASE / "vae"
    assert files.controlnets == {"canny": folder / SKETCH, "sketch": folder / SKETCH}
    assert (folder / BASE / "unet" / "diffusion_pytorch_model.safetensors").read_bytes() == (
        hub.repos[BASE]["unet/diffusion_pytorch_model.safetensors"]
    )
    assert not [path for path in folder.rglob("*") if path.suffix in {".bin", ".md", ".png", ".part"}]
    assert not (folder / BASE / "vae_large").exists()
    assert is_here(preset)

    hub.asked.clear()
    assert find("sdxs-512-dreamshaper", hub) == files
    assert not hub.asked


def test_nothing_is_fetched_twice_for_another_preset_on_the_same_base(hub: FakeHub, folder: Path) -> None:
    find("sdxs-512-dreamshaper", hub)
    hub.asked.clear()
    files = find("sdxs-512-dreamshaper-anime", hub)
    assert files.loras == {"anime": folder / ANIME}
    assert all(ANIME in request for request in hub.asked)
    assert set(hub.fetched()) == {"adapter_config.json", "adapter_model.safetensors"}


def test_small_files_come_before_any_weights(hub: FakeHub) -> None:
    find("sdxs-512-dreamshaper", hub)
    fetched = hub.fetched()
    first = next(i for i, path in enumerate(fetched) if path.endswith(WEIGHTS))
    assert first > 5
    assert all(path.endswith(WEIGHTS) for path in fetched[first:])
    assert len(fetched) == len(set(fetched)), "each once"


def test_another_decoder_of_the_model(hub: FakeHub, folder: Path) -> None:
    assert find("sdxs-512-dreamshaper", hub, vae="vae_large").vae == folder / BASE / "vae_large"
    assert not (folder / BASE / "vae" / "diffusion_pytorch_model.safetensors").exists()
    with pytest.raises(MisfitError, match="no decoder 'vae_huge'"):
        find("sdxs-512-dreamshaper", hub, vae="vae_huge")


@pytest.mark.parametrize("half", [True, False])
def test_one_form_of_the_weights_is_enough(hub: FakeHub, half: bool) -> None:
    plain = hub.repos[SKETCH]["diffusion_pytorch_model.safetensors"]
    hub.repos[SKETCH] = {**hub.repos[SKETCH], "diffusion_pytorch_model.fp16.safetensors": plain}
    find("sdxs-512-dreamshaper", hub, half=half)
    assert ("diffusion_pytorch_model.fp16.safetensors" in hub.fetched()) == half
    assert ("diffusion_pytorch_model.safetensors" in hub.fetched()) != half


def test_any_repository_and_any_fitting_part_load_by_name(hub: FakeHub, folder: Path, tmp_path: Path) -> None:
    hub.repos["someone/else"] = hub.repos[BASE]
    files = find("someone/else", hub, controlnets=[f"depth={SKETCH}"], loras=[f"mine={ANIME}"])
    assert files.preset.name == "someone/else"
    assert files.preset.size == (128, 128)
    assert files.controlnets == {"depth": folder / SKETCH}
    assert [(each.kind, each.polarity) for each in files.preset.controls] == [("depth", "black on white")]
    assert (files.preset.defaults.control, files.preset.defaults.lora) == ("depth", "mine"), "on from the start"
    (tmp_path / "lora.safetensors").write_bytes(adapter())
    files = find("someone/else", hub, loras=[f"file={tmp_path / 'lora.safetensors'}"], vae=f"{folder}/someone/else/vae")
    assert files.loras == {"file": tmp_path / "lora.safetensors"}
    assert files.vae == folder / "someone/else/vae"


def test_a_broken_off_file_goes_on_where_it_stopped(hub: FakeHub, folder: Path) -> None:
    path = "unet/diffusion_pytorch_model.safetensors"
    content = os.urandom(25 * 2**20)
    hub.repos[BASE] = {**hub.repos[BASE], path: content}
    hub.broken[path] = 21 * 2**20
    with pytest.raises(DownloadError, match=r"IDKiro/sdxs-512-dreamshaper broke off .*run it again"):
        find("sdxs-512-dreamshaper", hub)
    assert not (folder / BASE / path).exists()
    begun = next((folder / BASE).rglob("*.part")).stat().st_size
    assert 0 < begun < len(content)

    hub.broken.clear()
    hub.asked.clear()
    find("sdxs-512-dreamshaper", hub)
    assert any(request.endswith(f"{path} bytes={begun}-") for request in hub.asked)
    assert (folder / BASE / path).read_bytes() == content
    assert not list(folder.rglob("*.part"))


def test_what_was_begun_of_an_older_version_is_not_gone_on_with(hub: FakeHub, folder: Path) -> None:
    (folder / SKETCH).mkdir(parents=True)
    name = "diffusion_pytorch_model.safetensors"
    older = folder / SKETCH / f".{name}.0123456789abcdef.part"
    older.write_bytes(b"of an older version")
    find("sdxs-512-dreamshaper", hub)
    assert (folder / SKETCH / name).read_bytes() == hub.repos[SKETCH][name]
    assert not older.exists()


def test_two_programs_that_want_the_same_fetch_it_once(hub: FakeHub, folder: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: find("sdxs-512-dreamshaper", hub), range(3)))
    assert found[0] == found[1] == found[2]
    fetched = hub.fetched()
    assert len(fetched) == len(set(fetched))
    assert not list(folder.rglob("*.lock"))


def test_a_directory_of_the_same_name_is_taken_as_it_is(
    hub: FakeHub, saved: tuple[Any, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(saved[1], BASE)
    assert find(BASE, hub).directory == Path(BASE)
    assert not hub.asked
    assert find("sdxs-512-dreamshaper", hub).directory != Path(BASE)


def test_what_arrived_with_errors_is_not_kept(hub: FakeHub, folder: Path) -> None:
    net = Network(folder=folder / SKETCH, repo=SKETCH)
    session = Hub(hub.endpoint)
    session.offers(net)
    name = "diffusion_pytorch_model.safetensors"
    hub.repos[SKETCH] = {**hub.repos[SKETCH], name: bytes(len(hub.repos[SKETCH][name]))}
    with pytest.raises(DownloadError, match="arrived with errors"):
        session.fetch([(net, [name])])
    assert not [path for path in folder.rglob("*") if path.suffix in {".safetensors", ".part"}]


# What doesn't fit is refused before its weights are fetched.


def changed(content: bytes, **changes: Any) -> bytes:
    return json.dumps({**json.loads(content), **changes}).encode()


@pytest.mark.parametrize(
    ("repo", "path", "changes", "words"),
    [
        (SKETCH, "config.json", {"layers_per_block": 2}, r"sketch doesn't fit .*gives 10 residuals, .* takes 7"),
        (SKETCH, "config.json", {"block_out_channels": [16, 32, 64]}, "16/32/64 channels wide"),
        (SKETCH, "config.json", {"cross_attention_dim": 1024}, "1024 wide"),
        (SKETCH, "config.json", {"_class_name": "FluxControlNetModel"}, "FluxControlNetModel"),
        (BASE, "vae/config.json", {"latent_channels": 16}, "16 channels"),
        (BASE, "unet/config.json", {"in_channels": 9}, "inpainting"),
        (BASE, "text_encoder/config.json", {"hidden_size": 48}, "48"),
        (BASE, "model_index.json", {"_class_name": "FluxPipeline", "unet": None}, "FluxPipeline"),
        (BASE, "scheduler/scheduler_config.json", {"_class_name": "FlowMatchEulerDiscreteScheduler"}, "FlowMatch"),
    ],
)
def test_what_does_not_fit_is_refused_before_weights_are_fetched(
    hub: FakeHub, repo: str, path: str, changes: Mapping[str, Any], words: str
) -> None:
    hub.repos[repo] = {**hub.repos[repo], path: changed(hub.repos[repo][path], **changes)}
    with pytest.raises((MisfitError, CheckpointError), match=words) as caught:
        find("sdxs-512-dreamshaper", hub)
    assert "\n" not in str(caught.value)
    assert not hub.fetched(WEIGHTS)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (adapter(width=48), "48 wide, and sdxs-512-dreamshaper-anime 32"),
        (adapter("mid_block.attentions.0.transformer_blocks.0.attn1.to_q"), "doesn't have; it was made for another"),
        (save({"something.weight": torch.zeros(2)}), "no LoRA matrices"),
    ],
)
def test_a_lora_of_another_model_is_refused_by_the_first_bytes_of_its_file(
    hub: FakeHub, folder: Path, content: bytes, words: str
) -> None:
    hub.repos[ANIME] = {**hub.repos[ANIME], "adapter_model.safetensors": content}
    with pytest.raises(MisfitError, match=words):
        find("sdxs-512-dreamshaper-anime", hub)
    assert not list(folder.rglob("*.safetensors"))


def pickled(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


@pytest.fixture
def pickled_hub(hub: FakeHub) -> FakeHub:
    """The ControlNet is there only as a pickle, as SD 2.1's ControlNets were published."""
    state = load(hub.repos[SKETCH]["diffusion_pytorch_model.safetensors"])
    config = hub.repos[SKETCH]["config.json"]
    hub.repos[SKETCH] = {"config.json": config, "diffusion_pytorch_model.bin": pickled(state)}
    return hub


def test_weights_that_are_only_pickled_become_safetensors(pickled_hub: FakeHub, folder: Path) -> None:
    files = find("sdxs-512-dreamshaper", pickled_hub)
    there = sorted(path.name for path in (folder / SKETCH).iterdir())
    assert there == ["config.json", "diffusion_pytorch_model.safetensors"]
    assert len(load_checkpoint(files).controlnets) == 2
    pickled_hub.asked.clear()
    find("sdxs-512-dreamshaper", pickled_hub)
    assert not pickled_hub.asked


def test_pickles_that_several_want_at_once_come_once(pickled_hub: FakeHub, folder: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: find("sdxs-512-dreamshaper", pickled_hub), range(3)))
    assert all((each.controlnets["sketch"] / "diffusion_pytorch_model.safetensors").is_file() for each in found)
    assert len(pickled_hub.fetched(".bin")) == 1
    assert not list(folder.rglob("*.bin"))


def test_pickles_brought_by_hand_are_taken_without_a_network(pickled_hub: FakeHub, folder: Path) -> None:
    find("sdxs-512-dreamshaper", pickled_hub)
    (folder / SKETCH / "diffusion_pytorch_model.safetensors").unlink()
    (folder / SKETCH / "diffusion_pytorch_model.bin").write_bytes(
        pickled_hub.repos[SKETCH]["diffusion_pytorch_model.bin"]
    )
    files = locate("sdxs-512-dreamshaper", endpoint="http://127.0.0.1:9")
    assert (files.controlnets["canny"] / "diffusion_pytorch_model.safetensors").is_file()


def test_the_anime_lora_is_published_as_a_pickle(hub: FakeHub, folder: Path, saved: Any) -> None:
    layer = "base_model.model.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
    state = {f"{layer}.lora_A.weight": torch.zeros(4, 32), f"{layer}.lora_B.weight": torch.zeros(32, 4)}
    config = json.dumps({"r": 4, "lora_alpha": 4}).encode()
    hub.repos[ANIME] = {"adapter_config.json": config, "adapter_model.bin": pickled(state)}
    files = find("sdxs-512-dreamshaper-anime", hub)
    assert sorted(path.name for path in (folder / ANIME).iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    assert len(load_lora(files.loras["anime"], saved[0].unet)) == 1


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("hostile",)


def test_a_hostile_pickle_is_refused_and_never_run(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content = {"config.json": hub.repos[SKETCH]["config.json"], "diffusion_pytorch_model.bin": pickled(Hostile())}
    hub.repos[SKETCH] = content
    with pytest.raises(CheckpointError, match=r"diffusion_pytorch_model\.bin can't be read as weights"):
        find("sdxs-512-dreamshaper", hub)
    assert not (tmp_path / "hostile").exists()


def test_what_is_no_pipeline_is_refused(hub: FakeHub) -> None:
    with pytest.raises(MisfitError, match=r"no model_index\.json"):
        find(SKETCH, hub)


# Each failure is one sentence that says what to do.


def test_offline_says_which_files_go_where(folder: Path) -> None:
    with pytest.raises(DownloadError) as caught:
        locate("sdxs-512-dreamshaper", endpoint="http://127.0.0.1:9")
    sentence = str(caught.value)
    assert "model_index.json and the folders scheduler, tokenizer, text_encoder, unet, vae" in sentence
    assert f"of {BASE} go into {folder / BASE}; config.json and diffusion_pytorch_model.safetensors" in sentence
    assert f"of {SKETCH} go into {folder / SKETCH}." in sentence
    assert "sdxs-live models pull" in sentence
    assert "\n" not in sentence


def test_a_copied_folder_is_enough_offline(
    hub: FakeHub, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find("sdxs-512-dreamshaper", hub)
    shutil.move(folder, tmp_path / "stick")
    monkeypatch.setenv("SDXS_MODELS", str(tmp_path / "stick"))
    files = locate("sdxs-512-dreamshaper", endpoint="http://127.0.0.1:9")
    assert files.directory == tmp_path / "stick" / BASE


@pytest.mark.parametrize(
    ("name", "words"),
    [("someone/nothing", "no repository someone/nothing"), (f"canny={'x/y'}", "neither a directory")],
)
def test_a_repository_that_is_not_there(hub: FakeHub, name: str, words: str) -> None:
    with pytest.raises((DownloadError, NoSuchModel), match=words):
        find(name, hub)


def test_a_gated_repository_says_where_to_agree(hub: FakeHub) -> None:
    hub.gated.add(BASE)
    with pytest.raises(DownloadError, match=f"{hub.endpoint}/{BASE}.*HF_TOKEN"):
        find("sdxs-512-dreamshaper", hub)


def test_a_disk_without_room_is_said_before_the_first_byte(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    full = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    with pytest.raises(DownloadError, match=r"make room, or set SDXS_MODELS"):
        find("sdxs-512-dreamshaper", hub)
    assert not hub.fetched()


def test_a_folder_that_cannot_be_written_is_named(hub: FakeHub, folder: Path) -> None:
    folder.parent.mkdir(exist_ok=True)
    folder.write_text("a file where the folder should be")
    with pytest.raises(DownloadError, match="can't be written"):
        find("sdxs-512-dreamshaper", hub)


@pytest.mark.parametrize("name", ["../../nowhere", "a/../../b", "owner/..", "../x/y", "a/b/c", "owner/.hidden"])
def test_names_with_tricks_are_no_repositories(hub: FakeHub, name: str) -> None:
    with pytest.raises(NoSuchModel):
        find(name, hub)
    with pytest.raises(NoSuchModel):
        find("embedded", hub, controlnets=[f"canny={name}"])
    assert not hub.asked


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"controlnets": ["canny"]}, "NAME=REPO_OR_PATH"),
        ({"controlnets": ["pose=a/b"]}, "no kind 'pose'"),
        ({"loras": ["=x"]}, "NAME=REPO_OR_PATH"),
    ],
)
def test_options_that_make_no_sense(hub: FakeHub, options: Mapping[str, Any], words: str) -> None:
    with pytest.raises(MisfitError, match=words):
        find("embedded", hub, **options)
