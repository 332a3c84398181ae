"""Depth by controlnet-aux's real classes with random weights of the published shapes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pipelines import PipelineError, Settings
from pipelines.depth import PERCENTILES, DepthConditioner, DepthDrawer
from pipelines.detectors import import_controlnet_aux
from pipelines.settings import DepthEstimator
from tests.pipelines import annotators

SMALL = (128, 192)


def picture(size: tuple[int, int], seed: int = 0) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    return cv2.resize(rng.integers(0, 256, (8, 9, 3), np.uint8), size[::-1], interpolation=cv2.INTER_CUBIC)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("models")
        patch.setenv("SDXS_MODELS", str(folder))
        yield folder
    shutil.rmtree(folder)  # pytest would keep these large files of the last three runs


@pytest.fixture(scope="module")
def conditioner(models: Path) -> DepthConditioner:
    return DepthConditioner(device=torch.device("cpu"))


def renormalised(reference: NDArray[np.uint8], estimator: DepthEstimator) -> NDArray[np.float64]:
    """controlnet-aux's map, whose own extremes are black and white, as if our percentiles were."""
    if estimator == "zoe":  # the percentiles are its own
        return reference.astype(float)
    low, high = np.percentile(reference, PERCENTILES[estimator])
    return np.clip((reference - low) / (high - low) * 255, 0, 255)


def check_first_map(
    conditioner: DepthConditioner, estimator: DepthEstimator, reference: NDArray[np.uint8], image: NDArray[np.uint8]
) -> None:
    drawn = conditioner.drawer()(image, Settings(depth_estimator=estimator)).map
    assert drawn.shape == image.shape[:2]
    assert drawn.dtype == np.uint8
    assert (drawn.min(), drawn.max()) == (0, 255)
    assert reference.std() > 10, "The random network draws nothing that could be compared."
    expected = renormalised(reference, estimator)
    assert np.abs(drawn - expected).max() <= 3  # their map was cut to whole levels before it was spread further


def test_midas_is_controlnet_auxs_up_to_the_percentiles(conditioner: DepthConditioner, models: Path) -> None:
    annotators.save("midas", models)
    with annotators.no_network() as asked:
        detector = import_controlnet_aux().MidasDetector.from_pretrained(str(annotators.folder_of(models)))
        image = picture(SMALL)
        reference = detector(image, detect_resolution=128, image_resolution=128)[:, :, 0]
        check_first_map(conditioner, "midas", reference, image)
    assert not asked


@pytest.mark.slow
@pytest.mark.timeout(600)  # 345 M parameters, built and read three times
def test_zoe_is_controlnet_auxs(conditioner: DepthConditioner, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    controlnet_aux = import_controlnet_aux()
    own = controlnet_aux.zoe.get_config

    def smaller(*arguments: Any) -> Any:
        """The network's own working size, 384×512 whatever comes in, takes long on a small machine."""
        return own(*arguments) | {"img_size": [96, 128]}

    monkeypatch.setattr(controlnet_aux.zoe, "get_config", smaller)
    annotators.save("zoe", models)
    with annotators.no_network() as asked:
        detector = controlnet_aux.ZoeDetector.from_pretrained(str(annotators.folder_of(models)))
        image = picture(SMALL)
        reference = detector(image, detect_resolution=128, image_resolution=128)[:, :, 0]
        check_first_map(conditioner, "zoe", reference, image)
    assert not asked


def test_leres_is_controlnet_auxs_once_that_is_fed_as_its_authors_do(
    conditioner: DepthConditioner, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leres = import_controlnet_aux().leres
    weights = torch.load(annotators.save("leres", models), weights_only=True)["depth_model"]
    model = leres.RelDepthModel(backbone="resnext101")
    model.load_state_dict(leres.strip_prefix_if_present(weights, "module."))
    # LeresDetector leaves the network in training mode and hands 0..255 RGB to a function that takes 0..1 BGR.
    detector, estimate = leres.LeresDetector(model.eval(), None), leres.estimateleres
    image = picture(SMALL)
    with monkeypatch.context() as patch:
        patch.setattr(leres, "estimateleres", lambda image, *rest: estimate(image[:, :, ::-1] / 255.0, *rest))
        reference = detector(image, detect_resolution=128, image_resolution=128, output_type="np")[:, :, 0]
    with annotators.no_network() as asked:
        check_first_map(conditioner, "leres", reference, image)
    assert not asked


@pytest.mark.parametrize("size", [(100, 150), (65, 65), (20, 200), (64, 640)])
def test_the_map_has_the_size_of_the_picture(
    conditioner: DepthConditioner, models: Path, size: tuple[int, int]
) -> None:
    annotators.save("midas", models)
    drawn = conditioner.drawer()(picture(size), Settings())
    assert drawn.kind == "depth"
    assert drawn.map.shape == size
    assert drawn.map.std() > 10


def test_a_large_picture_is_shown_to_the_network_with_a_short_side_of_512(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []

    class Flat(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.append(tuple(images.shape))
            return images.mean(dim=1)

    monkeypatch.setattr("pipelines.depth.Detectors", lambda device: {"midas": SimpleNamespace(model=Flat())})
    assert DepthConditioner(device=torch.device("cpu")).drawer()(picture((1024, 1536)), Settings()).map.shape == (
        1024,
        1536,
    )
    assert seen == [(1, 3, 512, 768)]


class Told:
    """A network that says what it is told to: ``near`` of the next picture."""

    def __init__(self) -> None:
        self.near = np.zeros((4, 4), np.float32)

    def nearness(self, image: NDArray[np.uint8], estimator: DepthEstimator) -> NDArray[np.float32]:
        return self.near


def ramp(low: float, high: float) -> NDArray[np.float32]:
    return np.linspace(low, high, 256, dtype=np.float32).reshape(16, 16)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def drawer(told: Told) -> DepthDrawer:
    return DepthDrawer(told)  # type: ignore[arg-type]


def test_near_is_white(told: Told, drawer: DepthDrawer) -> None:
    told.near = ramp(-5.0, -1.0)
    row = drawer(picture((16, 16)), Settings()).map.ravel()
    assert (row[0], row[-1]) == (0, 255)
    assert (np.diff(row.astype(int)) >= 0).all()


def test_the_range_follows_slowly_within_a_scene(told: Told, drawer: DepthDrawer) -> None:
    image, settings = picture((16, 16)), Settings(depth_smoothing=0.9)
    told.near = ramp(0.0, 10.0)
    before = drawer(image, settings).map
    told.near = ramp(0.0, 10.0) + 1  # everything a little nearer, as a network says from one frame to the next
    after = drawer(image, settings).map
    assert after.mean() > before.mean() + 15
    for _ in range(60):
        settled = drawer(image, settings).map
    assert np.abs(settled.astype(int) - before).max() <= 2


def test_after_a_cut_the_range_is_right_at_once(told: Told, drawer: DepthDrawer) -> None:
    settings = Settings(depth_smoothing=0.99)
    told.near = ramp(0.0, 10.0)
    before = drawer(picture((16, 16), seed=1), settings).map
    told.near = ramp(2.0, 14.0)
    after = drawer(picture((16, 16), seed=2), settings).map
    assert np.abs(after.astype(int) - before).max() <= 1


def test_another_estimator_starts_with_its_own_range(told: Told, drawer: DepthDrawer) -> None:
    image = picture((16, 16))
    told.near = ramp(0.0, 10.0)
    drawer(image, Settings(depth_smoothing=0.99))
    told.near = ramp(0.0, 12.0)
    fresh = DepthDrawer(told)(image, Settings(depth_smoothing=0.99, depth_estimator="leres")).map  # type: ignore[arg-type]
    changed = drawer(image, Settings(depth_smoothing=0.99, depth_estimator="leres")).map
    assert np.array_equal(changed, fresh)


def test_streams_have_ranges_of_their_own(told: Told, drawer: DepthDrawer) -> None:
    image, settings = picture((16, 16)), Settings(depth_smoothing=0.99)
    told.near = ramp(0.0, 10.0)
    first = drawer(image, settings).map
    told.near = ramp(1.0, 11.0)
    assert np.array_equal(DepthDrawer(told)(image, settings).map, first)  # type: ignore[arg-type]


def test_flat_depth_is_black(told: Told, drawer: DepthDrawer) -> None:
    told.near = np.full((4, 4), 7.0, np.float32)
    assert not drawer(picture((16, 16)), Settings()).map.any()


def test_a_network_that_gives_no_numbers_is_named_and_leaves_nothing_behind(told: Told, drawer: DepthDrawer) -> None:
    image = picture((16, 16))
    told.near = ramp(0.0, 10.0)
    before = drawer(image, Settings()).map
    told.near = np.full((16, 16), np.nan, np.float32)
    with pytest.raises(PipelineError, match="midas gave no depth"):
        drawer(image, Settings())
    told.near = ramp(0.0, 10.0)
    assert np.array_equal(drawer(image, Settings()).map, before)


def test_a_given_depth_is_taken_as_it_is_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DepthConditioner, "nearness", None)  # whoever asks the network fails
    conditioner, given = DepthConditioner(device=torch.device("cpu")), Settings(depth_estimator="given")
    conditioner.warm_up(SMALL, given)
    assert not conditioner.is_slow(given)
    greys = np.random.default_rng(3).integers(0, 256, SMALL, np.uint8)
    drawn = conditioner.drawer()(np.repeat(greys[..., None], 3, 2), given)
    assert drawn.kind == "depth"
    np.testing.assert_array_equal(drawn.map, greys)
