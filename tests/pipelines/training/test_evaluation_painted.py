"""Styles, seeds, strengths and colours, each by painters whose answer is known; teachers, by what samples them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pipelines.errors import TrainingError
from pipelines.settings import Settings
from pipelines.training.evaluation import blends, camera_colours, known_depth, strengths, styles, variety
from pipelines.training.evaluation.bench import Bench, Wanted
from pipelines.training.evaluation.edges import edge_skill, edges_of
from pipelines.training.evaluation.painter import Painter
from pipelines.training.evaluation.score import Score
from pipelines.training.model import Model
from pipelines.training.sampling import sample
from tests.pipelines.training import tiny_teacher
from tests.pipelines.training.filter_painter import STYLES, FilterPainter, Paint, filtered

pytestmark = pytest.mark.filterwarnings("ignore")  # third-party deprecations
Picture = NDArray[np.uint8]


def bench(paint: Paint = filtered, names: Sequence[str] = STYLES, judge: Any = None, **wanted: Any) -> Bench:
    return Bench(FilterPainter(paint, names), Wanted(**wanted), judge)  # type: ignore[arg-type]


def value(scores: Sequence[Score], metric: str, about: str) -> float:
    (found,) = [score.value for score in scores if score.metric == metric and about in score.about]
    return found


def test_styles_that_differ_are_told_apart_on_photographs_never_seen() -> None:
    scores = styles.measure(bench(count=6))
    assert value(scores, "style-accuracy", "mean of 4 styles, 24 pictures, judge trained on its own") == 1
    assert value(scores, "style-confusion", "none was mistaken") == 0
    assert [score.about for score in scores[:4]] == list(STYLES)


def test_a_style_that_paints_as_another_does_is_found_out() -> None:
    def impostor(picture: Picture, settings: Settings) -> Picture:
        return filtered(picture, settings.replace(prompt="blur") if settings.prompt == "negative" else settings)

    scores = styles.measure(bench(impostor, count=4))
    assert value(scores, "style-accuracy", "mean of") <= 0.8
    confusion = next(score for score in scores if score.metric == "style-confusion")
    assert {*confusion.about.removeprefix("worst: ").split(" taken for ")} == {"blur", "negative"}
    # A judge that learned from honest pictures is not fooled by the half that it can't know.
    honest = FilterPainter()
    judged = styles.measure(bench(impostor, judge=honest, count=4))
    assert value(judged, "style-accuracy", "negative") == 0
    assert value(judged, "style-accuracy", "lines") == 1
    assert value(judged, "style-accuracy", "judge trained on filters's") == pytest.approx(0.75)


def test_one_style_or_an_unknown_one_is_refused() -> None:
    with pytest.raises(TrainingError, match="give two at least"):
        styles.measure(bench(styles="blur"))
    with pytest.raises(TrainingError, match="not all among this model's: lines, blur, blocks, negative"):
        styles.measure(bench(styles="blur,oil"))
    with pytest.raises(TrainingError, match="names no styles"):
        styles.measure(bench(names=(), data="shapes"))


def test_the_seed_s_part_is_measured() -> None:
    def brighter(picture: Picture, settings: Settings) -> Picture:
        return np.full_like(picture, 100 + 10 * settings.seed)

    scores = variety.measure(bench(brighter, ("a", "b"), seeds=3, count=2))
    assert value(scores, "seed-difference", "canny 0.8, 2 pictures, 3 seeds, mean of 2 styles") == pytest.approx(40 / 3)
    assert value(scores, "seed-difference", "text alone, 3 seeds") == pytest.approx(40 / 3)
    one = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    assert variety.alike([one, one]) == pytest.approx((1, 0))
    other = np.random.default_rng(1).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    assert variety.alike([one, other])[0] == pytest.approx(0, abs=0.05)
    with pytest.raises(TrainingError, match="--seeds 2"):
        variety.measure(bench(seeds=1))


def test_strength_that_brings_the_lines_in_evenly_and_strength_that_jumps() -> None:
    def fading(picture: Picture, settings: Settings) -> Picture:
        lines = np.repeat(edges_of(picture)[..., None], 3, 2)
        return np.asarray(lines * settings.conditioning_scale, np.uint8)

    def jumping(picture: Picture, settings: Settings) -> Picture:
        full = settings.replace(conditioning_scale=float(0.5 < settings.conditioning_scale < 0.9))
        return fading(picture, full)

    even, jump = (strengths.measure(bench(paint, ("a",), count=4)) for paint in (fading, jumping))
    assert value(even, "strength-loss", "canny") == 0
    assert value(even, "strength-evenness", "largest step") == pytest.approx(1, abs=0.03)
    assert value(even, "strength-skill", "0, canny") == 0 < value(even, "strength-skill", "1, canny")
    assert value(jump, "strength-loss", "canny") == value(jump, "strength-skill", "0.8, canny") > 0.3
    assert value(jump, "strength-evenness", "0.4 to 0.6") == pytest.approx(2.5)


def test_lines_that_cancel_between_two_styles_are_found_and_the_pair_is_named() -> None:
    def meeting(picture: Picture, settings: Settings) -> Picture:
        lines, gone = np.repeat(edges_of(picture)[..., None], 3, 2), settings.blend == 4 / 6
        return np.full_like(lines, 128) if gone and {settings.prompt, settings.prompt_b} == {"a", "c"} else lines

    scores = blends.measure(bench(meeting, ("a", "b", "c"), count=4))
    assert value(scores, "blend-skill", "worst: 4/6 from a to c") == 0
    both = edge_skill_of_lines(count=4)
    assert value(scores, "blend-skill", "3 pairs, 4 pictures") == pytest.approx(14 / 15 * both)
    with pytest.raises(TrainingError, match="two at least"):
        blends.measure(bench(names=("lines",)))


def edge_skill_of_lines(count: int) -> float:
    """What the edges themselves, painted as lines, reach: a line has two edges."""
    pictures = bench(count=count).pictures
    given = {str(place): edges_of(picture) for place, picture in enumerate(pictures)}
    return edge_skill(given, {name: np.repeat(lines[..., None], 3, 2) for name, lines in given.items()})


def test_depth_skill_is_of_lines_where_the_given_depth_jumps() -> None:
    def outlined(picture: Picture, settings: Settings) -> Picture:
        assert (settings.control, settings.depth_estimator, settings.init_strength) == ("depth", "given", 0)
        jumps = cv2.Canny(cv2.GaussianBlur(picture, (0, 0), 1), 15, 40)
        return np.repeat(255 - cv2.dilate(jumps, np.ones((2, 2), np.uint8))[..., None], 3, 2)

    def elsewhere(picture: Picture, settings: Settings) -> Picture:
        return outlined(np.ascontiguousarray(picture[::-1, ::-1]), settings)

    good, bad = (known_depth.measure(bench(paint, ("one", "two"), count=6)) for paint in (outlined, elsewhere))
    assert value(good, "depth-skill", "mean of 2 styles, 6 rendered scenes") > 0.5
    assert abs(value(bad, "depth-skill", "mean of")) < 0.15
    assert [score.about for score in good[:2]] == ["one", "two"]


def test_the_camera_s_colours_are_found_as_far_as_they_enter() -> None:
    def tinted(picture: Picture, settings: Settings) -> Picture:
        strength = settings.init_strength if settings.prompt == "keeps" else 0.0
        grey = np.repeat(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None], 3, 2)
        return np.asarray(strength * picture + (1 - strength) * grey, np.uint8)

    scores = camera_colours.measure(bench(tinted, ("keeps", "ignores"), count=4))
    assert value(scores, "colour-correlation", "keeps") == pytest.approx(1)
    assert value(scores, "colour-slope", "keeps") == pytest.approx(1)
    assert value(scores, "colour-slope", "ignores") == pytest.approx(0, abs=0.01)
    assert value(scores, "colour-slope", "init_strength 0,") == pytest.approx(0, abs=0.01)
    assert 0.2 < value(scores, "colour-slope", "init_strength 0.5, mean of 2") < 0.3
    negative = [255 - picture for picture in bench().pictures]
    assert camera_colours.kept(bench().pictures, negative)[0] < -0.8


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_teacher.save(tmp_path_factory.mktemp("teacher"))


def test_a_teacher_is_painted_in_many_steps_at_each_strength(teacher: Path) -> None:
    painter = Painter(teacher, device="cpu", steps=3, guidance=2.0)
    photograph = cv2.resize(bench().pictures[0], painter.size[::-1], interpolation=cv2.INTER_AREA)
    settings = [painter.settings("a", seed=5, control="canny", strength=strength) for strength in (0.0, 0.7)]
    without, held = painter.paint([photograph] * 2, settings)
    model = Model.load(teacher)
    noise = torch.randn((1, *model.latent_shape(*painter.size)), generator=torch.Generator().manual_seed(5))
    maps = torch.from_numpy(edges_of(photograph)).float().div(255).expand(1, 3, *painter.size)
    for found, scale in ((without, None), (held, 0.7)):
        control: dict[str, Any] = {} if scale is None else {"control": "canny", "maps": maps, "scale": scale}
        latents = sample(model, noise, ["a"], steps=3, guidance=2.0, **control)
        expected = model.decode(latents).detach()[0].add(1).mul(127.5).clamp(0, 255).permute(1, 2, 0).numpy()
        np.testing.assert_allclose(found, expected, atol=0.51)
    assert np.abs(without.astype(int) - held).mean() > 0.5


def test_the_colours_enter_a_teacher_s_noise_too(teacher: Path) -> None:
    painter = Painter(teacher, device="cpu", steps=2)
    photograph = bench().pictures[1]
    settings = [painter.settings("a", seed=5, control="none", strength=1, init_strength=s) for s in (0.0, 1.0)]
    plain, coloured = painter.paint([photograph] * 2, settings)
    assert np.abs(plain.astype(int) - coloured).max() > 2
    np.testing.assert_array_equal(plain, painter.paint([None], settings[:1])[0])
    with pytest.raises(TrainingError, match="init_strength needs pictures"):
        painter.paint([None], settings[1:])
    with pytest.raises(TrainingError, match="One step has no guidance"):
        Painter(teacher, device="cpu", guidance=2.0)
