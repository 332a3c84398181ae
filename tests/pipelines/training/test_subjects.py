"""Subjects: each name once, each cut-out whole and in the middle; drawn people with the lines that a webcam sees."""

import json
from pathlib import Path

import cv2
import numpy as np

from pipelines.training.drawn import subjects
from pipelines.training.drawn.canvases import random_crop
from pipelines.training.drawn.captions import THINGS, WORDINGS
from pipelines.training.drawn.portraits import portrait
from pipelines.training.drawn.rooms import plain_ground
from pipelines.training.drawn.sources import SOURCES, largest


def test_names_and_pictures_are_each_there_once() -> None:
    words = [word for subject in subjects.SUBJECTS for word in subject.words]
    assert 300 <= len(subjects.SUBJECTS) <= 500
    assert len(words) == len(set(words))
    assert len({subject.code for subject in subjects.SUBJECTS}) == len(subjects.SUBJECTS)
    assert all(word == word.strip() == word.lower() and word for word in words)
    assert not set(words) & set(THINGS), "words that say nothing name a subject"
    assert not set(words) & {wording for wordings in WORDINGS.values() for wording in wordings}


def test_a_subject_has_other_words() -> None:
    assert "puppy" in subjects.words_of("dog face")
    assert subjects.words_of("something else") == ("something else",)


def test_a_cut_out_is_centred_and_keeps_shape_and_colour() -> None:
    picture = np.zeros((80, 120, 4), np.uint8)
    picture[10:40, 5:65] = (10, 200, 30, 255)
    cut = subjects.cut_out(picture)
    rows, columns = np.nonzero(cut[..., 3] > 128)
    assert (rows.min() + rows.max(), columns.min() + columns.max()) == (255, 255)
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (100, 200)
    assert np.abs(cut[128, 128].astype(int) - (10, 200, 30, 255)).max() <= 1


def test_subjects_are_written_with_their_names(tmp_path: Path) -> None:
    files = []
    for code, colour in (("1f98a", (0, 120, 255, 255)), ("2602-fe0f", (90, 10, 90, 255)), ("0023", (9, 9, 9, 255))):
        picture = np.zeros((64, 64, 4), np.uint8)
        picture[8:50, 10:40] = colour
        files.append(tmp_path / f"{code}.png")
        cv2.imwrite(str(files[-1]), picture)
    assert subjects.prepare(tmp_path, files) == 2
    assert json.loads((tmp_path / "subjects.json").read_text()) == ["fox", "umbrella"]
    stack = np.load(tmp_path / "subjects.npy")
    assert stack.shape == (2, 256, 256, 4)
    assert np.abs(stack[0, 128, 128].astype(int) - (255, 120, 0, 255)).max() <= 1


def test_drawn_people_have_lines_wherever_they_sit() -> None:
    rng = np.random.default_rng(4)
    for _ in range(12):
        ground = plain_ground(128, rng)
        person = portrait(ground, rng)
        assert (person.shape, person.dtype) == ((128, 128, 3), np.uint8)
        assert (cv2.Canny(person, 100, 200) > 0).mean() > 0.01
        assert random_crop(cv2.resize(person, (256, 256)), 96, rng).shape == (96, 96, 3)


def test_every_source_is_free_and_described() -> None:
    for source in SOURCES:
        assert source.licence
        assert source.described == {
            "name": source.name,
            "version": source.version,
            "licence": source.licence,
            "kind": source.kind,
        }


def test_a_picture_in_several_sizes_counts_once() -> None:
    files = [Path(name) for name in ("a/640x480.jpg", "a/1920x1200.jpg", "b/640x480.jpg", "b/fox.jpg", "b/hen.jpg")]
    assert largest(files) == [Path(name) for name in ("a/1920x1200.jpg", "b/640x480.jpg", "b/fox.jpg", "b/hen.jpg")]
