"""What a session starts with: the camera's colours are for sessions that have a camera."""

from __future__ import annotations

import pytest

from pipelines.settings import Settings
from realtime.modes import check_mode, first_settings
from streaming.errors import BadRequest

KEEPS = Settings(prompt="comic book", control="canny", init_strength=0.7, extra_controls={"sketch": 0.5})


def test_a_camera_starts_as_the_model_says() -> None:
    assert first_settings("camera", KEEPS, controls=["canny"]) == KEEPS


def test_a_drawing_is_a_sketch_whose_paper_gives_no_colours() -> None:
    first = first_settings("draw", KEEPS, controls=["canny", "sketch"])
    assert (first.kinds, first.sketch_detector, first.init_strength) == (("sketch",), "drawn", 0.0)
    assert first.prompt == "comic book"


def test_words_alone_are_words_alone() -> None:
    first = first_settings("imagine", KEEPS, controls=["canny"])
    assert (first.kinds, first.init_strength) == ((), 0.0)


def test_a_mode_that_there_is_not_is_refused_in_a_sentence() -> None:
    with pytest.raises(BadRequest, match="no mode 'film'; a session is camera, draw or imagine"):
        check_mode("film")
