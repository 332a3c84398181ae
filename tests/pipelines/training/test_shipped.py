"""The model that ships: it keeps the edges of photographs it never saw, in the styles and colours asked for."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import pipelines
from pipelines.album import FILE as ALBUM
from pipelines.album import Album
from pipelines.settings import Settings
from pipelines.training.drawn.captions import WORDINGS
from pipelines.training.evaluation.edges import edge_skill, edges_of, held_out_photographs
from pipelines.training.evaluation.known_depth import known_scenes
from pipelines.training.evaluation.painter import Painter, fit
from pipelines.training.picture import open_pipeline, paint
from pipelines.training.shipped import PRESETS
from realtime.model import load
from realtime.still import paint_still

DIRECTORY = Path(pipelines.__file__).parent / "embedded"
pytestmark = pytest.mark.filterwarnings("ignore")  # third-party deprecations while loading

Pictures = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def pipeline() -> Any:
    return open_pipeline(DIRECTORY)


@pytest.fixture(scope="module")
def given() -> Pictures:
    return {name: edges_of(picture) for name, picture in held_out_photographs().items()}


@pytest.fixture
def painter() -> Painter:
    """As it runs live."""
    return Painter(DIRECTORY, device="cpu")


def settings(painter: Painter, prompt: str) -> Settings:
    return painter.settings(prompt, seed=3, control="canny", strength=0.8)


def ground(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Its colours, without its lines."""
    return np.asarray(cv2.resize(picture, (8, 8), interpolation=cv2.INTER_AREA), np.float32)


def painted(pipeline: Any, given: Pictures, prompt: str, strength: float = 1.0) -> Pictures:
    return {name: paint(pipeline, edges, prompt, seed=3, strength=strength) for name, edges in given.items()}


def test_every_preset_keeps_the_edges(pipeline: Any, given: Pictures) -> None:
    skills = {label: edge_skill(given, painted(pipeline, given, prompt)) for label, prompt in PRESETS}
    assert min(skills.values()) > 0.7, skills
    assert np.mean(list(skills.values())) > 0.85, skills


def test_the_line_styles_keep_them_well_and_less_at_less_strength(pipeline: Any, given: Pictures) -> None:
    skills = [edge_skill(given, painted(pipeline, given, "ink drawing", strength)) for strength in (1.0, 0.2, 0.0)]
    assert skills[0] > 0.9
    assert skills[0] > skills[1] + 0.1 > skills[2] + 0.2
    assert abs(skills[2]) < 0.05


def test_lines_are_painted_where_a_given_depth_jumps(painter: Painter) -> None:
    scenes = known_scenes(4, painter.size)
    given = {str(place): lines for place, (_, lines) in enumerate(scenes)}
    shown = [cv2.cvtColor(depth, cv2.COLOR_GRAY2RGB) for depth, _ in scenes]
    for prompt in ("ink drawing", "comic book"):
        asked = painter.settings(prompt, seed=3, control="depth", strength=0.8).replace(depth_estimator="given")
        skill = edge_skill(given, dict(zip(given, painter.paint(shown, [asked] * len(shown)), strict=True)))
        assert skill > 0.12, (prompt, skill)  # strong jumps are drawn, weak ones hardly


def test_prompts_change_the_picture(pipeline: Any, given: Pictures) -> None:
    pictures = [paint(pipeline, given["astronaut"], prompt, seed=3).astype(int) for _, prompt in PRESETS]
    apart = [np.abs(one - other).mean() for i, one in enumerate(pictures) for other in pictures[:i]]
    assert min(apart) > 6  # grey levels


def test_no_words_are_ink(pipeline: Any, given: Pictures) -> None:
    default, other = (paint(pipeline, given["astronaut"], prompt, seed=3).astype(int) for prompt in ("ink drawing", ""))
    assert np.abs(default - other).mean() < 12


def test_hundreds_of_things_are_found_by_every_name_in_every_style() -> None:
    album = Album.load(DIRECTORY / ALBUM)
    assert len(album.subjects) > 450
    for subject in album.subjects:
        for name in subject.names:
            for _, style in PRESETS:
                assert album.named(f"{name}, {style}") is album.named(f"{style} of a {name}") is subject
    assert [wording for wordings in WORDINGS.values() for wording in wordings if album.named(wording)] == []


def lines(picture: NDArray[np.uint8]) -> float:
    """The share of a picture that is edges of lines: a comic's dots are none, and are blurred away."""
    return float((edges_of(cv2.GaussianBlur(picture, (0, 0), 2)) > 0).mean())


def test_a_thing_is_painted_from_its_name_alone() -> None:
    """Its lines and its colours, and not another's; words that name none give a ground without lines."""
    model = load("embedded", backend="eager", device="cpu")
    assert model.album is not None
    names = ("fox", "sailboat", "strawberry", "house")
    asked = {name: Settings(prompt=f"{name}, comic book", control="none", seed=5) for name in names}
    wanted = {name: model.album.recall(each, model.painter.size) for name, each in asked.items()}
    painted = {name: paint_still(None, model, each) for name, each in asked.items()}
    assert edge_skill({name: each.map for name, each in wanted.items() if each}, painted) > 0.6
    for name, each in wanted.items():
        assert each is not None
        seen, made = ground(each.colours).ravel(), ground(painted[name]).ravel()
        assert np.corrcoef(seen, made)[0, 1] > 0.6, name
    plain = paint_still(None, model, Settings(prompt="a meadow, comic book", control="none", seed=5))
    assert lines(plain) < 0.001
    assert min(map(lines, painted.values())) > 0.02


@pytest.mark.parametrize("prompt", ["a person with a hat", "qwertz uiop", "cyborg warrior", "日本の城 🏯"])
def test_words_that_it_never_learned_don_t_break_it(pipeline: Any, given: Pictures, prompt: str) -> None:
    assert edge_skill(given, painted(pipeline, given, prompt)) > 0.4


def test_a_seed_is_a_palette_and_repeats(pipeline: Any, given: Pictures) -> None:
    edges = given["astronaut"]
    one, again, other = (paint(pipeline, edges, "comic book", seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert np.abs(ground(one) - ground(other)).mean() > 10


def test_the_cameras_colours_come_in_as_far_as_they_are_asked_for(painter: Painter) -> None:
    photographs = list(held_out_photographs().values())
    likeness = []
    for share in (0.0, 0.5, 1.0):
        asked = [settings(painter, "comic book").replace(init_strength=share)] * len(photographs)
        pairs = zip(photographs, painter.paint(photographs, asked), strict=True)
        both = [np.corrcoef(ground(given).ravel(), ground(made).ravel())[0, 1] for given, made in pairs]
        likeness.append(np.mean(both))
    assert likeness[0] < likeness[1] < likeness[2]
    assert likeness[2] > 0.7


def test_a_blend_of_two_styles_lies_between_them(painter: Painter) -> None:
    photograph = held_out_photographs()["coffee"]
    both = settings(painter, "blueprint").replace(prompt_b="comic book")
    painted = painter.paint([photograph] * 3, [both.replace(blend=share) for share in (0.0, 0.5, 1.0)])
    one, middle, other = (each.astype(int) for each in painted)
    apart = np.abs(one - other).mean()
    assert apart > 20
    assert max(np.abs(middle - one).mean(), np.abs(middle - other).mean()) < 0.8 * apart


@pytest.mark.parametrize("size", [(128, 128), (384, 384), (256, 448), (448, 256)], ids=str)
def test_other_sizes_keep_the_edges_too(painter: Painter, size: tuple[int, int]) -> None:
    pictures = [fit(each, size) for each in held_out_photographs(size=max(size)).values()]
    painter.size = size
    painted = painter.paint(pictures, [settings(painter, "comic book")] * len(pictures))
    wanted = {str(place): edges_of(each) for place, each in enumerate(pictures)}
    assert edge_skill(wanted, {str(place): each for place, each in enumerate(painted)}) > 0.4


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
