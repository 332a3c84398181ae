"""The models known by name."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.catalogue import LAYOUTS, list_presets
from pipelines.compatible import check_controlnet
from pipelines.errors import CheckpointError, NoSuchModel
from pipelines.folders import models_folder
from pipelines.layout import parameters
from pipelines.presets import EMBEDDED, PRESETS, find_model, find_preset, known_polarity, read_preset
from pipelines.reading import read_json


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SDXS_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def test_every_model_is_listed_with_its_sizes(folder: Path) -> None:
    rows = {row["name"]: row for row in list_presets()}
    assert list(rows) == [
        "embedded",
        "sdxs-512-dreamshaper",
        "sdxs-512-0.9",
        "sdxs-512-dreamshaper-anime",
        "sd-turbo",
        "sdxs-1024",
    ]
    assert rows["sdxs-512-dreamshaper"]["unet_parameters"] == 315_746_244
    assert rows["sdxs-512-dreamshaper"]["controls"] == [
        {"kind": kind, "repo": "IDKiro/sdxs-512-dreamshaper-sketch", "parameters": 186_551_440}
        for kind in ("canny", "sketch")
    ]
    assert [each["kind"] for each in rows["sd-turbo"]["controls"]] == ["canny", "depth"]
    assert rows["sdxs-512-0.9"]["dtype"] == "fp32"
    assert not rows["sdxs-1024"]["released"]
    assert [row["name"] for row in rows.values() if row["present"]] == ["embedded"]
    assert rows["embedded"]["unet_parameters"] == parameters(read_json(EMBEDDED / "unet" / "config.json"))
    assert all(row["licence"] for row in rows.values())


def test_listing_imports_no_heavy_library_the_second_time() -> None:
    list_presets()
    code = "from pipelines.catalogue import list_presets; list_presets(); import sys; print('torch' in sys.modules)"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert output.stdout.strip() == "False"


def test_presets_agree_with_themselves() -> None:
    for preset in (read_preset(EMBEDDED), *PRESETS):
        kinds = [control.kind for control in preset.controls]
        assert preset.defaults.control in (*kinds, "none")
        assert preset.defaults.lora in ("", *(lora.name for lora in preset.loras))
        assert len(preset.styles) >= 5
        assert preset.defaults.prompt in [style.prompt for style in preset.styles]
    for name, (unet, control, _, texts) in LAYOUTS.items():
        assert sum(text["hidden_size"] for text in texts) == unet["cross_attention_dim"]
        if control is not None:
            check_controlnet("its own", control, name, unet)


def test_the_sketch_net_wants_black_on_white_for_both_of_its_controls() -> None:
    preset = find_preset("sdxs-512-dreamshaper")
    assert preset is not None
    assert {control.kind: control.polarity for control in preset.controls} == {
        "canny": "black on white",
        "sketch": "black on white",
    }
    assert preset.defaults.conditioning_scale == 0.8
    assert known_polarity("IDKiro/sdxs-512-dreamshaper-sketch") == "black on white"
    assert known_polarity("someone/else") == "white on black"


def test_the_anime_model_is_an_adapter_on_the_same_files() -> None:
    anime, base = find_preset("sdxs-512-dreamshaper-anime"), find_preset("sdxs-512-dreamshaper")
    assert anime is not None
    assert base is not None
    assert anime.repo == base.repo
    assert anime.controls == base.controls
    assert (anime.defaults.lora, [lora.name for lora in anime.loras]) == ("anime", ["anime"])


def test_models_by_name(folder: Path, tmp_path: Path) -> None:
    assert find_model("embedded") == EMBEDDED
    assert find_model(tmp_path) == tmp_path
    assert find_model("sd-turbo") == models_folder() / "stabilityai" / "sd-turbo" == folder / "stabilityai" / "sd-turbo"
    assert find_preset("stabilityai/sd-turbo") is find_preset("sd-turbo")
    with pytest.raises(NoSuchModel, match="no model 'sdxl-turbo-9000'") as caught:
        find_model("sdxl-turbo-9000")
    assert "sdxs-512-dreamshaper" in str(caught.value)


def test_the_model_that_was_never_released_says_so() -> None:
    with pytest.raises(CheckpointError, match=r"never released.*training"):
        find_model("sdxs-1024")


def test_a_broken_preset_is_named(tmp_path: Path) -> None:
    (tmp_path / "preset.json").write_text('{"name": "x", "size": [256]}')
    with pytest.raises(CheckpointError, match=r"preset\.json: size"):
        read_preset(tmp_path)


def test_a_directory_without_a_preset_is_known_by_its_configuration(tmp_path: Path) -> None:
    shutil.copytree(EMBEDDED, tmp_path / "model", ignore=shutil.ignore_patterns("*.safetensors", "preset.json"))
    preset = read_preset(tmp_path / "model")
    assert (preset.name, preset.size) == ("model", (256, 256))
    assert [control.kind for control in preset.controls] == ["canny"]
    shutil.rmtree(tmp_path / "model" / "controlnet")
    config = tmp_path / "model" / "unet" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "sample_size": 96}))
    preset = read_preset(tmp_path / "model")
    assert (preset.size, preset.controls, preset.defaults.control) == ((768, 768), (), "none")
