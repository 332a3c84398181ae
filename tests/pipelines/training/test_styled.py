"""What the embedded model learns from: pairs of a scene, told by index and colour field alone."""

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipelines.errors import TrainingError
from pipelines.training.data.dataset import open_data
from pipelines.training.drawn import scenes
from pipelines.training.drawn.captions import COLOURS, WORDINGS
from pipelines.training.drawn.staging import Staged
from pipelines.training.drawn.steadying import LEAST
from pipelines.training.drawn.styled import Example, Styled
from pipelines.training.drawn.styles import STYLES
from pipelines.training.drawn.thinning import without_specks
from pipelines.training.evaluation.edges import edges_of
from tests.pipelines.training.small_world import SUBJECTS, small_world

SIZE = 128


@pytest.fixture(scope="module")
def styled(tmp_path_factory: pytest.TempPathFactory) -> Styled:
    return Styled(str(small_world(tmp_path_factory.mktemp("world"))), (SIZE, SIZE))


def a_field(seed: int = 1) -> np.ndarray:
    return scenes.random_field(np.random.default_rng(seed))


def staged_at(styled: Styled, index: int) -> Staged:
    scene = index // styled.group
    return styled._staged(styled.plan(index), a_field(), np.random.default_rng((12, scene)))


def first(styled: Styled, *, kind: str, **wanted: object) -> int:
    """The even index of the first scene of that kind."""
    for index in range(0, 4000, 2):
        plan = styled.plan(index)
        if plan.kind == kind and all(getattr(plan, name) == value for name, value in wanted.items()):
            return index
    raise AssertionError(f"no {kind} with {wanted}")


def same(one: Example, other: Example) -> bool:
    pictures = [(one.picture, other.picture), (one.map, other.map), (one.colours, other.colours)]
    told = (one.strength, one.prompt) == (other.strength, other.prompt)
    return told and all(np.array_equal(a, b) if b is not None else a is None for a, b in pictures)


def test_an_example_repeats_in_a_dataset_opened_again(styled: Styled, tmp_path: Path) -> None:
    again = Styled(str(small_world(tmp_path)), (SIZE, SIZE))
    for index in range(6):
        assert same(styled.example(index, None), again.example(index, None))
        assert same(styled.example(index, a_field()), again.example(index, a_field()))
        np.testing.assert_array_equal(styled.read(index), again.example(index, None).picture)


def test_an_example_is_the_same_whatever_was_asked_for_before(styled: Styled, tmp_path: Path) -> None:
    again = Styled(str(small_world(tmp_path)), (SIZE, SIZE))
    for index in (first(styled, kind="canvas"), first(styled, kind="subject")):
        styled.example(index, a_field(1))
        for field in (a_field(1), a_field(2), None):
            assert same(styled.example(index + 1, field), again.example(index + 1, field))
        styled.example(index, None).map[:] = 7
        assert same(styled.example(index, None), again.example(index, None))


@pytest.mark.parametrize("kind", ["canvas", "subject", "words"])
def test_neighbours_are_one_scene_in_two_styles(styled: Styled, kind: str) -> None:
    index = first(styled, kind=kind)
    one, other = styled.example(index, None), styled.example(index + 1, None)
    np.testing.assert_array_equal(one.map, other.map)
    assert one.strength == other.strength == styled.plan(index).strength
    assert (one.colours is None) == (other.colours is None)
    assert styled.names[index].rpartition(" in ")[0] == styled.names[index + 1].rpartition(" in ")[0]
    assert styled.names[index] != styled.names[index + 1]
    assert not np.array_equal(one.picture, other.picture)


def test_shapes_types_and_prompts(styled: Styled) -> None:
    for index in range(0, 30, 3):
        example = styled.example(index, a_field())
        assert (example.picture.shape, example.picture.dtype) == ((SIZE, SIZE, 3), np.uint8)
        assert (example.map.shape, example.map.dtype) == ((SIZE, SIZE), np.uint8)
        assert 0 <= example.strength <= 1
        assert example.prompt == styled.prompts[index]
        if example.colours is not None:
            assert (example.colours.shape, example.colours.dtype) == ((SIZE // 4, SIZE // 4, 3), np.uint8)


def test_shares_of_kinds_colours_sketches_and_strengths() -> None:
    plans = [scenes.plan(scene, canvases=40, subjects=9, styles=12) for scene in range(6000)]
    shares = {"canvas": 0.50, "subject": 0.28, "words": 0.10, "solids": 0.12}
    assert {kind: np.mean([plan.kind == kind for plan in plans]) for kind in shares} == pytest.approx(shares, abs=0.02)
    mapped = [plan for plan in plans if plan.kind != "words"]
    lined = [plan for plan in mapped if plan.kind != "solids"]
    assert np.mean([plan.sketched for plan in lined]) == pytest.approx(0.2, abs=0.02)
    assert not any(plan.sketched for plan in plans if plan.kind == "solids")  # their map is their depth
    assert np.mean([plan.strength == 1 for plan in mapped]) == pytest.approx(0.35, abs=0.02)
    for kind, camera in (("canvas", 0.65), ("subject", 0.45), ("solids", 0.6)):
        assert np.mean([plan.camera for plan in plans if plan.kind == kind]) == pytest.approx(camera, abs=0.03)
    words = [plan for plan in plans if plan.kind == "words"]
    assert {(plan.strength, plan.camera, plan.sketched) for plan in words} == {(0.0, False, False)}
    each = np.bincount([style for plan in plans for style in plan.styles], minlength=12) / 12000
    assert each == pytest.approx(np.full(12, 1 / 12), abs=0.012)
    assert all(plan.styles[0] != plan.styles[1] for plan in plans)


def test_held_out_scenes_show_canvases_of_their_own(styled: Styled) -> None:
    plans = [(index % 40 >= 38, styled.plan(index)) for index in range(0, 2000, 2)]
    held = {plan.content for held, plan in plans if held and plan.kind == "canvas"}
    assert held
    assert not held & {plan.content for held, plan in plans if not held and plan.kind == "canvas"}


def test_solids_are_drawn_where_their_depth_jumps(styled: Styled) -> None:
    index = first(styled, kind="solids", strength=1.0)
    example = styled.example(index, a_field())
    assert len(np.unique(example.map)) > 20  # no lines: greys
    shown = staged_at(styled, index).lines > 0
    jumps = cv2.morphologyEx(example.map, cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8))
    assert shown.any()
    assert jumps[shown].mean() > 4 * jumps[~shown].mean()


def test_words_alone_show_the_field_and_no_lines(styled: Styled) -> None:
    number = list(STYLES).index("watercolour")
    index = next(
        index
        for index in range(8000)
        if (plan := styled.plan(index)).kind == "words"
        and plan.styles[index % 2] == number
        and styled._said(index, plan)[1] is None
    )
    reddish = np.full((8, 8, 3), (0.8, 0.3, 0.2), np.float32)
    example = styled.example(index, reddish)
    assert (example.strength, example.colours) == (0.0, None)
    assert not example.map.any()
    warm, cold = (styled.example(index, field).picture for field in (reddish, 1 - reddish))
    apart = warm.mean((0, 1)) - cold.mean((0, 1))
    assert apart[0] > 20 > -20 > apart[2]
    assert not edges_of(warm).any()


def test_some_captions_of_words_alone_name_a_subject(styled: Styled) -> None:
    prompts = [styled.prompts[index] for index in range(8000) if styled.plan(index).kind == "words"]
    naming = [any(name.split()[-1] in prompt for name in SUBJECTS) for prompt in prompts]
    assert 0.3 < np.mean(naming) < 0.7


def test_a_sample_may_be_drawn_between_its_style_and_its_neighbours(styled: Styled) -> None:
    """Whatever the styles: nearer to the one that it is nearer to, and equal to them at both ends."""
    for index in (first(styled, kind="canvas", strength=1.0), first(styled, kind="subject")):
        one, other = (styled.example(each, a_field()).picture.astype(float) for each in (index, index + 1))
        assert np.abs(styled.example(index, a_field(), 1.0).picture - other).max() <= 1
        near, far = (styled.example(index, a_field(), share).picture for share in (0.1, 0.9))
        assert np.abs(near - one).mean() < np.abs(near - other).mean()
        assert np.abs(far - one).mean() > np.abs(far - other).mean()
        assert styled.example(index, a_field(), 0.1).prompt == styled.prompts[index]


def test_camera_colours_don_t_hear_the_field_and_others_do(styled: Styled) -> None:
    comic, oil = list(STYLES).index("comic"), list(STYLES).index("oil")
    for camera in (True, False):
        index = next(
            index
            for index in range(0, 20000, 2)
            if (plan := styled.plan(index)).kind == "canvas"
            and plan.camera == camera
            and {*plan.styles} & {comic, oil}
            and plan.strength == 1
        )
        index += styled.plan(index).styles[0] not in (comic, oil)
        one, other = (styled.example(index, a_field(seed)).picture.astype(int) for seed in (1, 2))
        assert (np.abs(one - other).max() > 40) != camera


def test_a_weak_map_s_lines_are_all_there_and_faint(styled: Styled, monkeypatch: pytest.MonkeyPatch) -> None:
    index = first(styled, kind="canvas", sketched=False, camera=False)
    own = styled.plan(index)
    shown = {}
    for strength in (0.0, 0.3, 0.6, 1.0):
        monkeypatch.setattr(styled, "plan", lambda _, s=strength: dataclasses.replace(own, strength=s))
        styled._last = None
        shown[strength] = styled.example(index, a_field())
    whole, none = (shown[strength].picture.astype(float) for strength in (1.0, 0.0))
    assert np.abs(whole - none).max() > 100
    for strength in (0.3, 0.6):
        np.testing.assert_array_equal(shown[strength].map, shown[1.0].map)
        assert np.abs(shown[strength].picture - (none + strength * (whole - none))).max() <= 1


def test_all_lines_of_a_map_but_its_specks_are_painted(styled: Styled) -> None:
    for index in range(0, 400, 2):
        plan = styled.plan(index)
        if plan.kind == "canvas" and not plan.sketched:
            staged = styled._staged(plan, a_field(), np.random.default_rng((12, index // 2)))
            np.testing.assert_array_equal(staged.lines, without_specks(staged.map, LEAST))


def test_a_tint_reaches_picture_and_words(styled: Styled) -> None:
    styles = list(STYLES)
    tinted = [
        index
        for index in range(6000)
        if styled.plan(index).kind == "words"
        and styles[styled.plan(index).styles[index % 2]] == "comic"
        and (hue := styled._said(index, styled.plan(index))[1]) is not None
        and hue == COLOURS["blue"]
    ]
    assert tinted
    example = styled.example(tinted[0], np.full((8, 8, 3), 0.5, np.float32))
    assert "blue" in example.prompt
    red, _, blue = example.picture.mean((0, 1))
    assert blue > red + 20


def test_prompts_name_the_style_or_mean_the_default(styled: Styled) -> None:
    styles = list(STYLES)
    named = 0
    for index in range(400):
        style = styles[styled.plan(index).styles[index % 2]]
        named += any(wording in styled.prompts[index] for wording in WORDINGS[style])
        assert styled.names[index].endswith(f" in {style}")
    assert named > 370


def test_it_opens_as_data_and_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="prepare"):
        open_data(f"drawn:{tmp_path}", (64, 64))
    small_world(tmp_path, canvases=3)
    train, held_out = open_data(f"drawn:{tmp_path}", (64, 64))
    assert len(train) == 19 * len(held_out)
    assert train.picture(3).shape == (64, 64, 3)
    with pytest.raises(TrainingError, match="square"):
        open_data(f"drawn:{tmp_path}", (64, 96))
    (tmp_path / "subjects.json").write_text('["fox"]')
    with pytest.raises(TrainingError, match="belong together"):
        open_data(f"drawn:{tmp_path}", (64, 64))


def test_a_sketched_map_lies_on_the_painted_lines(styled: Styled) -> None:
    index = first(styled, kind="subject", sketched=True)
    staged = styled._staged(styled.plan(index), a_field(), np.random.default_rng((12, index // 2)))
    assert np.count_nonzero(staged.lines) > 100
    assert (staged.map[staged.lines > 0] > 100).all()
    away = cv2.distanceTransform((staged.lines == 0).astype(np.uint8), cv2.DIST_L2, 5)
    assert away[staged.map > 0].max() < 4
