from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage import data

from pipelines import Settings
from pipelines.detectors import import_controlnet_aux, standard_lineart
from pipelines.settings import SketchDetector
from pipelines.sketch import SketchConditioner
from tests.pipelines import annotators

SMALL = (128, 192)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("models")
        patch.setenv("SDXS_MODELS", str(folder))
        yield folder
    shutil.rmtree(folder)  # pytest would keep these large files of the last three runs


@pytest.fixture(scope="module")
def conditioner() -> SketchConditioner:
    return SketchConditioner(device=torch.device("cpu"))


def astronaut(size: tuple[int, int]) -> NDArray[np.uint8]:
    return cv2.resize(data.astronaut(), size[::-1], interpolation=cv2.INTER_AREA)


def drawing() -> NDArray[np.uint8]:
    paper = np.full((256, 320, 3), 255, np.uint8)
    cv2.circle(paper, (100, 120), 60, (0, 0, 0), 8, cv2.LINE_AA)
    cv2.line(paper, (200, 30), (300, 230), (0, 0, 0), 8, cv2.LINE_AA)
    return paper


def through_jpeg(picture: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    done, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), np.uint8)


def reference(name: str, folder: Path) -> Any:
    """controlnet-aux's own detector, loaded as it loads it."""
    package = import_controlnet_aux()
    if name == "lineart":
        torch.save(annotators.network("lineart").state_dict(), folder / "sk_model2.pth")  # it won't go without
    names = {"lineart": "LineartDetector", "pidinet": "PidiNetDetector", "hed": "HEDdetector"}
    return getattr(package, names[name]).from_pretrained(str(folder))


@pytest.mark.parametrize("name", ["lineart", "pidinet", "hed"])
def test_the_networks_draw_controlnet_auxs_lines_black_on_white(
    name: SketchDetector, conditioner: SketchConditioner, models: Path
) -> None:
    annotators.save(name, models)
    picture = astronaut(SMALL)
    with annotators.no_network() as asked:
        drawn = conditioner.drawer()(picture, Settings(sketch_detector=name))
        detector = reference(name, annotators.folder_of(models))
        lines = detector(picture, detect_resolution=128, image_resolution=128, output_type="np")[:, :, 0]
    assert not asked
    assert drawn.kind == "sketch"
    assert drawn.map.std() > 3, "The random network draws nothing that could be compared."
    assert np.array_equal(drawn.map, 255 - lines)


def test_standard_lineart_is_controlnet_auxs_black_on_white(conditioner: SketchConditioner) -> None:
    picture = astronaut((512, 512))
    lines = import_controlnet_aux().LineartStandardDetector()(picture, output_type="np")[:, :, 0]
    assert np.array_equal(conditioner(picture, Settings()).map, 255 - lines)


def test_standard_lineart_looks_the_same_at_every_size(conditioner: SketchConditioner) -> None:
    large = conditioner(astronaut((512, 512)), Settings()).map
    small = conditioner(astronaut((256, 256)), Settings()).map
    shrunk = cv2.resize(large, (256, 256), interpolation=cv2.INTER_AREA)
    assert abs(float(small.mean()) - float(shrunk.mean())) < 5
    assert np.corrcoef(small.ravel(), shrunk.ravel())[0, 1] > 0.9


def test_strokes_are_dark_where_the_picture_has_lines(conditioner: SketchConditioner) -> None:
    picture = np.full((256, 256, 3), 200, np.uint8)
    cv2.line(picture, (20, 128), (236, 128), (40, 40, 40), 5)
    drawn = conditioner(picture, Settings()).map
    assert drawn[128, 60:200].max() < 180
    assert drawn[40, 60:200].min() == 255


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("level", [0, 128, 255])
def test_an_empty_picture_gives_white_paper_without_a_warning(conditioner: SketchConditioner, level: int) -> None:
    standard_lineart.cache_clear()  # pytest has put the filters of warnings back that its first use set
    assert conditioner(np.full((96, 96, 3), level, np.uint8), Settings()).map.min() == 255


@pytest.mark.parametrize("name", ["lineart_standard", "drawn", "hed"])
@pytest.mark.parametrize("size", [(100, 150), (65, 65), (20, 200)])
def test_the_map_has_the_size_of_the_picture(
    name: SketchDetector, size: tuple[int, int], conditioner: SketchConditioner, models: Path
) -> None:
    annotators.save("hed", models)
    drawn = conditioner(astronaut(size), Settings(sketch_detector=name)).map
    assert drawn.shape == size
    assert drawn.dtype == np.uint8


def test_a_clean_drawing_is_taken_as_it_is(conditioner: SketchConditioner) -> None:
    paper = np.full((64, 64, 3), 255, np.uint8)
    paper[20:30, 10:50] = 0
    assert np.array_equal(conditioner(paper, Settings(sketch_detector="drawn")).map, paper[:, :, 0])


@pytest.mark.parametrize("quality", [80, 40, 20])
def test_what_a_codec_did_to_a_drawing_does_not_show(conditioner: SketchConditioner, quality: int) -> None:
    settings, clean = Settings(sketch_detector="drawn"), drawing()
    noisy = through_jpeg(clean, quality)
    before, after = conditioner(clean, settings).map, conditioner(noisy, settings).map
    # Off the borders of strokes everything is plain black or white again.
    ink = clean[:, :, 0] < 128
    border = cv2.dilate(ink.astype(np.uint8), np.ones((5, 5))) != cv2.erode(ink.astype(np.uint8), np.ones((5, 5)))
    assert (noisy[~border] != clean[~border]).any()
    assert np.array_equal(after[~border], before[~border])


def test_a_stroke_of_any_colour_is_ink(conditioner: SketchConditioner) -> None:
    paper = np.full((64, 64, 3), 255, np.uint8)
    for row, colour in enumerate([(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 0, 0)]):
        paper[row * 12 : row * 12 + 8, 8:56] = colour
    drawn = conditioner(paper, Settings(sketch_detector="drawn")).map
    assert all((drawn[row * 12 : row * 12 + 8, 8:56] == 0).all() for row in range(5))
    assert (drawn[:, :8] == 255).all()


def test_only_networks_are_slow(conditioner: SketchConditioner) -> None:
    slow = {
        name
        for name in ("lineart_standard", "lineart", "pidinet", "hed", "drawn")
        if conditioner.is_slow(Settings(sketch_detector=name))
    }  # type: ignore[arg-type]
    assert slow == {"lineart", "pidinet", "hed"}
