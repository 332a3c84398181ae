"""The metrics, each on cases whose answer is known."""

from __future__ import annotations

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.errors import TrainingError
from pipelines.training.evaluation import depth, temporal
from pipelines.training.evaluation.edges import HELD_OUT, edge_f1, edge_skill, edges_of, held_out_photographs
from pipelines.training.evaluation.fidelity import fid, fid_score, kid, kid_score
from pipelines.training.evaluation.film import read_film
from pipelines.training.evaluation.painter import fit

pytestmark = pytest.mark.filterwarnings("ignore")  # third-party deprecations
RNG = np.random.default_rng


def gaussian(count: int, mean: float, scale: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """With exactly that mean and those deviations, along the axes."""
    drawn = RNG(seed).normal(size=(count, len(scale)))
    drawn -= drawn.mean(0)
    drawn = drawn @ np.linalg.inv(np.linalg.cholesky(np.cov(drawn, rowvar=False))).T
    return drawn * scale + mean


def test_the_frechet_distance_of_gaussians_is_the_closed_form() -> None:
    one, other = np.array([1.0, 2.0, 0.5, 1.0]), np.array([2.0, 1.0, 0.5, 3.0])
    found = fid(gaussian(400, 0, one, 1), gaussian(300, 1.5, other, 2))
    assert found == pytest.approx(4 * 1.5**2 + np.sum((one - other) ** 2), rel=1e-6)


def test_a_set_against_itself_is_at_no_distance() -> None:
    features = gaussian(200, 0, np.ones(6), 0)
    assert fid(features, features) == pytest.approx(0, abs=1e-6)
    assert kid(features, features)[0] == pytest.approx(0, abs=0.15)


def test_kid_is_the_cubic_kernel_s_mmd_and_grows_with_the_shift() -> None:
    """Unbiased: around 0 for two draws of one distribution; and by hand, over all the subsets there are."""
    real = RNG(0).normal(size=(400, 5))
    means = [kid(real, RNG(1).normal(size=(400, 5)) + shift)[0] for shift in (0.0, 0.5, 1.0)]
    assert abs(means[0]) < 0.05
    assert means[0] < means[1] < means[2]
    few, others = real[:4], real[4:8] + 1.0

    def kernel(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
        return (a @ b.T / 5 + 1) ** 3

    def mmd(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
        own = [(kernel(x, x).sum() - np.trace(kernel(x, x))) / 2 for x in (a, b)]
        return float(sum(own) - 2 * kernel(a, b).mean())

    pairs = [(i, j) for i in range(4) for j in range(i)]
    exact = np.mean([mmd(few[list(p)], others[list(q)]) for p in pairs for q in pairs])
    mean, spread = kid(few, others)
    assert mean == pytest.approx(exact, abs=4 * spread / 10)  # of 100 random subsets


def test_scores_say_which_way_is_better_and_of_what() -> None:
    real, painted = (gaussian(50, mean, np.ones(3), 0) for mean in (0, 1))
    found = fid_score(real, painted, extractor="X")
    assert (found.metric, found.better, found.about) == ("fid", "lower", "X, 50 pictures against 50")
    assert kid_score(real, painted, extractor="X").spread is not None
    with pytest.raises(TrainingError, match="two pictures of each kind"):
        fid(real, painted[:1])


def test_edges_with_themselves_agree_and_one_pixel_off_too() -> None:
    edges = np.zeros((40, 40), np.uint8)
    edges[10, 5:35] = 255
    assert edge_f1(edges, edges) == 1
    assert edge_f1(edges, np.roll(edges, 1, 0)) == 1
    assert edge_f1(edges, np.roll(edges, 2, 0)) == 0
    half = edges.copy()
    half[:, 20:] = 0
    assert edge_f1(edges, half) == pytest.approx(2 * 1 * (16 / 30) / (1 + 16 / 30))  # one pixel of tolerance at its end


def test_edge_skill_is_one_for_the_pictures_and_about_zero_for_others() -> None:
    pictures = held_out_photographs(size=128)
    given = {name: edges_of(picture) for name, picture in pictures.items()}
    assert edge_skill(given, pictures) == 1
    swapped = dict(zip(pictures, [*list(pictures.values())[1:], pictures["astronaut"]], strict=True))
    assert edge_skill(given, swapped) < 0.02


def test_eight_photographs_come_with_scikit_image_and_none_is_another() -> None:
    pictures = list(held_out_photographs(HELD_OUT, 64).values())
    assert [picture.shape for picture in pictures] == [(64, 64, 3)] * 8
    apart = [np.abs(one.astype(int) - other).mean() for one, other in itertools.combinations(pictures, 2)]
    assert min(apart) > 20
    edges = [np.count_nonzero(edges_of(picture)) / 64**2 for picture in pictures]
    assert min(edges) > 0.04, "something to hold to"


def test_depth_is_compared_up_to_scale_and_shift() -> None:
    given = RNG(0).normal(size=(20, 30)).astype(np.float32)
    assert depth.depth_error(given, 3 * given - 7) == pytest.approx(0, abs=1e-5)
    assert depth.depth_correlation(given, 3 * given - 7) == pytest.approx(1)
    assert depth.depth_correlation(given, -given) == pytest.approx(-1)
    stranger = RNG(1).normal(size=(20, 30)).astype(np.float32)
    assert depth.depth_error(given, stranger) > 0.98
    # Of two uncorrelated halves of equal spread, least squares explains half the variance.
    other = stranger - given * float((stranger * given).sum() / (given * given).sum())
    mixed = (given - given.mean()) / given.std() + (other - other.mean()) / other.std()
    assert depth.depth_error(given, mixed) == pytest.approx(np.sqrt(0.5), abs=0.03)
    assert depth.depth_error(np.ones_like(given), given) == 0
    error, alike = depth.scores([given], [given], about="one")
    assert (error.better, alike.better) == ("lower", "higher")


@pytest.fixture(scope="module")
def photograph() -> NDArray[np.uint8]:
    return held_out_photographs(("astronaut",), 160)["astronaut"]


def negative(frames: list[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    """A painter that treats every frame alike."""
    return [np.asarray(255 - frame, np.uint8) for frame in frames]


def flicker(frames: list[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    """One whose brightness jumps to and fro by 40 grey levels."""
    return [np.asarray(frame // 2 + 40 * (place % 2), np.uint8) for place, frame in enumerate(frames)]


@pytest.mark.parametrize("kind", ["still", "pan"])
def test_a_steady_painter_has_the_input_s_own_warp_error(photograph: NDArray[np.uint8], kind: str) -> None:
    frames = temporal.still(photograph, frames=4) if kind == "still" else temporal.pan(photograph, frames=4)
    steady = temporal.warp_error(frames, negative(frames))
    assert steady.ratio == pytest.approx(1, rel=0.01)
    assert 0 < steady.given < 6
    shaky = temporal.warp_error(frames, flicker(frames))
    assert shaky.painted > 30
    assert shaky.ratio > 5


def test_a_pan_s_pixels_are_followed(photograph: NDArray[np.uint8]) -> None:
    """A painter that stands still while the camera pans is not steady."""
    frames = temporal.pan(photograph, frames=4, pixels=3)
    frozen = temporal.warp_error(frames, [frames[0]] * 4)
    assert frozen.painted > 3 * frozen.given


def test_clips_that_can_t_be_compared_say_so(photograph: NDArray[np.uint8]) -> None:
    frames = temporal.still(photograph, frames=2, noise=0)
    assert temporal.warp_error(frames, frames).ratio == 0
    with pytest.raises(TrainingError, match="two clips of as many frames"):
        temporal.warp_error(frames, frames[:1])


def test_of_several_styles_the_mean_is_told_and_the_worst_is_named(photograph: NDArray[np.uint8]) -> None:
    frames = temporal.still(photograph, frames=3)
    of = {"steady": negative(frames), "shaky": flicker(frames)}
    found = {name: temporal.frame_difference(frames, painted) for name, painted in of.items()}
    assert found["steady"].ratio == pytest.approx(1)
    assert found["shaky"].painted == pytest.approx(40, abs=2)
    (*_, alone) = temporal.scores({"steady": found["steady"]}, about="x")
    assert (alone.metric, alone.about) == ("warp-ratio", "x, steady")
    *_, mean, worst = temporal.scores(found, about="still", metric="frame")
    assert mean.value == pytest.approx((1 + found["shaky"].ratio) / 2)
    assert (worst.metric, worst.about) == ("frame-ratio", "still, worst style: shaky")
    assert worst.value == found["shaky"].ratio


def test_a_film_is_read_and_fitted(photograph: NDArray[np.uint8], tmp_path: Path) -> None:
    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (160, 120))
    for _ in range(5):
        writer.write(cv2.cvtColor(np.ascontiguousarray(photograph[20:140]), cv2.COLOR_RGB2BGR))
    writer.release()
    frames = read_film(path, frames=3)
    assert [frame.shape for frame in frames] == [(120, 160, 3)] * 3
    assert fit(frames[0], (64, 64)).shape == (64, 64, 3)
    assert np.abs(frames[0].astype(int) - photograph[20:140]).mean() < 6
    with pytest.raises(TrainingError, match=r"nowhere\.mp4 is no video"):
        read_film("nowhere.mp4", frames=3)
