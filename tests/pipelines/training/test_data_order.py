"""The endless order, the split, and the data that are drawn: all of them the same at every call."""

import cv2
import numpy as np
import pytest

from pipelines.depth import DepthConditioner
from pipelines.errors import TrainingError
from pipelines.training.data import order
from pipelines.training.data.dataset import open_data, split
from pipelines.training.data.maps import add_map, draw_map
from pipelines.training.data.shapes import COLOURS


def test_each_epoch_is_a_permutation_of_its_own() -> None:
    epochs = [[order.index_at(17 * epoch + place, 17, 3) for place in range(17)] for epoch in range(3)]
    assert all(sorted(epoch) == list(range(17)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert epochs[0] != [order.index_at(place, 17, 4) for place in range(17)]


def test_a_position_is_known_without_walking_there() -> None:
    walked = [order.index_at(position, 11, 1) for position in range(100)]
    order._permutation.cache_clear()
    assert order.index_at(97, 11, 1) == walked[97]
    assert [order.index_at(position, 11, 1) for position in range(60, 100)] == walked[60:]


@pytest.mark.parametrize(("count", "group"), [(2, 1), (19, 1), (20, 1), (1000, 1), (60, 3), (1000, 12)])
def test_what_is_held_out_is_never_trained_on(count: int, group: int) -> None:
    train, held_out = split(count, group, "data")
    assert sorted([*train, *held_out]) == list(range(count))
    assert not {index // group for index in train} & {index // group for index in held_out}
    assert (train, held_out) == split(count, group, "data")


def test_shapes_show_what_their_captions_say() -> None:
    train, held_out = open_data("shapes", (64, 64))
    assert len(held_out) == 1000
    for data in (train, held_out):
        for index in range(40):
            picture, prompt = data.sample(index)
            np.testing.assert_array_equal(picture, data.picture(index))
            *_, colour, form, _, _, ground, _ = prompt.split()
            assert (picture[0, 0] == COLOURS[ground]).all()
            painted = (np.abs(picture.astype(int) - COLOURS[colour]).sum(-1) < 3).mean()
            assert 0.05 < painted < 0.5, prompt
            if form == "ring":
                rows, columns = np.nonzero((picture != COLOURS[ground]).any(-1))
                assert (picture[round(rows.mean()), round(columns.mean())] == COLOURS[ground]).all()


def test_shapes_are_drawn_at_any_size() -> None:
    small, _ = open_data("shapes", (64, 64))
    large, _ = open_data("shapes", (128, 192))
    assert large.picture(3).shape == (128, 192, 3)
    assert small.prompts[3] == large.prompts[3]


@pytest.mark.parametrize("side", [64, 256, 1024])
def test_canny_maps_vary_with_their_chance_and_repeat(side: int) -> None:
    rng = np.random.default_rng(2)
    coarse = rng.integers(0, 255, (12, 12, 3), np.uint8)
    picture = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    cv2.circle(picture, (side // 2, side // 2), side // 4, (250, 120, 90), -1)
    maps = [draw_map("canny", picture, np.random.default_rng(seed)) for seed in range(8)]
    for drawn in maps:
        assert (drawn.shape, drawn.dtype) == ((3, side, side), np.float32)
        assert set(np.unique(drawn)) == {0.0, 1.0}
        assert 0 < drawn.mean() < 0.5  # white on black
    assert len({drawn.tobytes() for drawn in maps}) > 3
    np.testing.assert_array_equal(maps[5], draw_map("canny", picture, np.random.default_rng(5)))


def test_sketches_are_black_on_white() -> None:
    picture = np.full((128, 128, 3), 250, np.uint8)
    cv2.circle(picture, (64, 64), 40, (20, 20, 20), 2)
    drawn = draw_map("sketch", picture, np.random.default_rng(0))
    assert drawn.shape == (3, 128, 128)
    assert drawn.mean() > 0.6
    assert drawn.min() < 0.3


def test_another_kind_of_map_can_be_plugged_in() -> None:
    picture = np.full((64, 64, 3), 51, np.uint8)
    with pytest.raises(TrainingError, match="Nothing here draws the map 'luma'"):
        draw_map("luma", picture, np.random.default_rng(0))
    add_map("luma", lambda shown, rng: shown[..., 1])
    np.testing.assert_allclose(draw_map("luma", picture, np.random.default_rng(0)), 0.2)


def test_each_depth_map_is_a_stream_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The range of depths that is spread over black to white follows a stream; between pictures it must not."""
    monkeypatch.setattr(DepthConditioner, "nearness", lambda self, image, estimator: image[..., 0].astype(np.float32))
    ramp = np.repeat(np.linspace(0, 200, 64, dtype=np.uint8)[None, :, None], 64, 0).repeat(3, 2)
    first = draw_map("depth", ramp, np.random.default_rng(0))
    dimmer = draw_map("depth", ramp // 2 + 20, np.random.default_rng(0))
    assert first.shape == (3, 64, 64)
    assert (first.min(), first.max()) == (0, 1)  # near is white
    assert first[0, 0, -1] > first[0, 0, 0]
    np.testing.assert_allclose(dimmer, first, atol=0.03)
