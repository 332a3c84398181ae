"""The model that ships: its pictures keep the edges of photographs it never saw and change with the prompt and seed."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import pipelines
from pipelines.training.evaluation.edges import edge_skill, edges_of, held_out_photographs
from pipelines.training.picture import open_pipeline, paint
from pipelines.training.shipped import PRESETS

DIRECTORY = Path(pipelines.__file__).parent / "embedded"
pytestmark = pytest.mark.filterwarnings("ignore")  # third-party deprecations while loading

Pictures = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def pipeline() -> Any:
    return open_pipeline(DIRECTORY)


@pytest.fixture(scope="module")
def given() -> Pictures:
    return {name: edges_of(picture) for name, picture in held_out_photographs().items()}


def painted(pipeline: Any, given: Pictures, prompt: str, strength: float = 1.0) -> Pictures:
    return {name: paint(pipeline, edges, prompt, seed=3, strength=strength) for name, edges in given.items()}


def test_every_preset_keeps_the_edges(pipeline: Any, given: Pictures) -> None:
    skills = {label: edge_skill(given, painted(pipeline, given, prompt)) for label, prompt in PRESETS}
    assert min(skills.values()) > 0.2, skills
    assert np.mean(list(skills.values())) > 0.45, skills


def test_the_line_styles_keep_them_well_and_less_at_less_strength(pipeline: Any, given: Pictures) -> None:
    skills = [edge_skill(given, painted(pipeline, given, "ink drawing", strength)) for strength in (1.0, 0.5, 0.0)]
    assert skills[0] > 0.55
    assert skills[0] > skills[1] > skills[2] - 0.02
    assert abs(skills[2]) < 0.05


def test_prompts_change_the_picture(pipeline: Any, given: Pictures) -> None:
    pictures = [paint(pipeline, given["astronaut"], prompt, seed=3).astype(int) for _, prompt in PRESETS]
    apart = [np.abs(one - other).mean() for i, one in enumerate(pictures) for other in pictures[:i]]
    assert min(apart) > 6  # grey levels


def test_words_that_name_no_style_and_no_words_give_the_default(pipeline: Any, given: Pictures) -> None:
    default = paint(pipeline, given["astronaut"], "ink drawing", seed=3).astype(int)
    for prompt in ("", "a person with a hat", "qwertz uiop"):
        other = paint(pipeline, given["astronaut"], prompt, seed=3).astype(int)
        assert np.abs(default - other).mean() < 12


def test_the_seed_moves_the_colours_and_repeats(pipeline: Any, given: Pictures) -> None:
    edges = given["astronaut"]
    one, again, other = (paint(pipeline, edges, "neon lights at night", seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    blurred = [cv2.GaussianBlur(picture, (0, 0), 12).astype(int) for picture in (one, other)]
    assert np.abs(blurred[0] - blurred[1]).mean() > 1


def test_the_directory_is_small_half_precision_and_complete() -> None:
    files = [path for path in DIRECTORY.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 25_000_000
    for part in ("unet", "vae", "text_encoder", "controlnet"):
        (weights,) = (DIRECTORY / part).glob("*.safetensors")
        header = weights.read_bytes()
        size = int.from_bytes(header[:8], "little")
        tensors = json.loads(header[8 : 8 + size])
        assert {tensor["dtype"] for name, tensor in tensors.items() if name != "__metadata__"} == {"F16"}
    assert (DIRECTORY / "README.md").is_file()
