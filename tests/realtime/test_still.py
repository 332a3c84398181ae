"""One picture: photographs, drawings, and text alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from pipelines.album import Album
from pipelines.conditioners import make_conditioners
from pipelines.settings import Settings
from realtime.errors import BadInput
from realtime.model import Model, load, wrap
from realtime.still import paint_still, read_picture
from tests.pipelines import tiny
from tests.pipelines.test_album import a_subject
from tests.realtime.fakes import NumberPainter, flat_conditioners

SIZE = (64, 128)


class Easy(NumberPainter):
    """Keeps what it was shown, at whatever size."""

    shown: tuple[NDArray[np.uint8], NDArray[np.uint8] | None, Settings]

    def paint_uint8(self, maps: Any, settings: Sequence[Settings], colours: Any = None, *, form: Any = "rgb") -> Any:
        self.shown = maps.numpy(), None if colours is None else colours.numpy(), settings[0]
        return torch.zeros(1, *maps.shape[2:], 3, dtype=torch.uint8)


@pytest.fixture
def painter() -> Easy:
    return Easy(size=SIZE, controls=("canny", "sketch", "depth"))


def shown(painter: Easy, source: NDArray[np.uint8] | None, settings: Settings) -> Any:
    paint_still(source, wrap(painter, flat_conditioners()), settings)
    return painter.shown


def test_text_alone_is_no_map_at_all(painter: Easy) -> None:
    settings = Settings(prompt="ink", extra_controls={"depth": 1.0}, init_strength=0.5)
    maps, colours, used = shown(painter, None, settings)
    assert maps.shape == (1, 0, *SIZE)
    assert colours is None
    assert (used.prompt, used.kinds, used.init_strength) == ("ink", (), 0.0)


def test_of_a_photograph_the_middle_is_painted_and_its_colours_are_kept(painter: Easy) -> None:
    photograph = np.zeros((128, 128, 3), np.uint8)
    photograph[32:96] = [10, 20, 30]
    settings = Settings(extra_controls={"depth": 0.5}, init_strength=0.3)
    maps, colours, used = shown(painter, photograph, settings)
    assert maps.shape == (1, 2, *SIZE)
    assert np.unique(maps[0, 0]).tolist() == [10]
    assert np.unique(maps[0, 1]).tolist() == [30]
    assert colours is not None
    assert colours.shape == (1, 16, 32, 3)
    assert np.unique(colours.reshape(-1, 3), axis=0).tolist() == [[10, 20, 30]]
    assert used is settings


def test_a_drawing_is_kept_whole(painter: Easy) -> None:
    settings = Settings(control="sketch", sketch_detector="drawn")
    maps, _, _ = shown(painter, np.zeros((256, 128, 3), np.uint8), settings)
    assert maps[0, 0, 0].tolist() == [255] * 48 + [0] * 32 + [255] * 48


def test_a_drawing_file_becomes_black_strokes_on_white() -> None:
    """With the real conditioner: what was drawn arrives, whatever the polarity that the model wants."""
    painter = Easy(size=SIZE, controls=("sketch",))
    sheet = np.full((*SIZE, 3), 255, np.uint8)
    cv2.line(sheet, (10, 32), (118, 32), (0, 0, 0), 8)
    model = wrap(painter, make_conditioners(("sketch",), device=torch.device("cpu")))
    paint_still(sheet, model, Settings(control="sketch", sketch_detector="drawn"))
    maps, _, _ = painter.shown
    assert maps[0, 0, 32, 64] == 0
    assert maps[0, 0, 5, 64] == 255


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load(str(tiny.save(tmp_path_factory.mktemp("model"))[1]), backend="eager", device="cpu")


def test_the_real_pipeline_paints_both(model: Model) -> None:
    photograph = np.random.default_rng(0).integers(0, 256, (100, 100, 3), np.uint8)
    settings = model.defaults.replace(prompt="ink")
    held, free = paint_still(photograph, model, settings), paint_still(None, model, settings)
    assert held.shape == free.shape == (*model.painter.size, 3)
    assert np.array_equal(free, paint_still(None, model, settings)), "the same words and seed give the same picture"
    assert not np.array_equal(held, free)
    assert not np.array_equal(held, paint_still(photograph, model, settings.replace(init_strength=0.8)))


def test_a_walk_between_seeds_is_somewhere_between(model: Model) -> None:
    pictures = [
        paint_still(None, model, model.defaults.replace(seed=1, seed_b=2, seed_blend=blend)).astype(int)
        for blend in (0.0, 0.1, 1.0)
    ]
    near, far = (np.abs(pictures[0] - each).mean() for each in pictures[1:])
    assert 0 < near < far


@pytest.mark.parametrize(("mode", "colour", "shade"), [("RGBA", (0, 0, 0, 0), 255), ("L", 7, 7), ("1", 0, 0)])
def test_a_transparent_file_is_white_where_nothing_was_drawn(
    tmp_path: Path, mode: str, colour: Any, shade: int
) -> None:
    Image.new(mode, (8, 8), colour).save(tmp_path / "drawing.png")
    picture = read_picture(tmp_path / "drawing.png")
    assert (picture.shape, picture.dtype) == ((8, 8, 3), np.uint8)
    assert np.unique(picture).tolist() == [shade]


def test_a_file_that_is_no_picture_is_said(tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("words")
    with pytest.raises(BadInput, match=r"notes\.png is no picture that can be read; give a PNG, JPEG or WebP\."):
        read_picture(tmp_path / "notes.png")
    with pytest.raises(BadInput, match=r"none\.png can't be read: No such file"):
        read_picture(tmp_path / "none.png")
    with pytest.raises(BadInput, match="can't be read: Is a directory"):
        read_picture(tmp_path)


def test_text_alone_is_looked_up_where_there_is_an_album_and_a_picture_is_not(painter: Easy) -> None:
    painter.album = Album([a_subject("fox")])
    maps, colours, used = shown(painter, None, Settings(prompt="fox, ink", seed=3))
    assert maps.shape == (1, 1, *SIZE)
    assert set(np.unique(maps)) == {0, 255}
    assert colours is not None
    assert colours.shape == (1, 16, 32, 3)
    assert used.kinds == ("canny",)
    maps, colours, _ = shown(painter, None, Settings(prompt="a meadow, ink"))
    assert maps.shape == (1, 0, *SIZE)
    assert colours is None
    maps, _, used = shown(painter, np.full((*SIZE, 3), 9, np.uint8), Settings(prompt="fox, ink"))
    assert np.unique(maps).tolist() == [9]
    assert used.init_strength == 0
