"""What is looked up for a picture from words alone: found by its name, put where the seed says, kept in a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipelines.album import ENTERS, FILE, SHRINK, THUMB, Album, Subject, find_album
from pipelines.errors import CheckpointError
from pipelines.settings import Settings

SIZE = (128, 128)
ORANGE, BLUE = (230, 120, 30), (20, 60, 220)


def a_subject(*names: str, colour: tuple[int, int, int] = ORANGE, inset: int = 40) -> Subject:
    """A square and its diagonal, of one colour."""
    low, high = inset, 255 - inset
    square = np.array([(low, low), (high, low), (high, high), (low, high), (low, low)], np.uint8)
    colours = np.zeros((THUMB, THUMB, 4), np.uint8)
    colours[4:-4, 4:-4] = (*colour, 255)
    return Subject(names=names, strokes=[square, square[[0, 2]]], colours=colours)


@pytest.fixture
def album() -> Album:
    known = [
        a_subject("dog"),
        a_subject("dog face", "puppy"),
        a_subject("fox", colour=BLUE, inset=70),
        a_subject("book"),
        a_subject("bus"),
    ]
    return Album(known, silent=("comic book", "ink"))


def asked(prompt: str, **changes: object) -> Settings:
    return Settings(prompt=prompt, control="none").replace(changes)


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("a DOG, ink drawing", "dog"),
        ("dog face in comic book style", "dog face"),
        ("two puppies", None),
        ("my puppy", "dog face"),
        ("foxes and dogs", "fox"),
        ("buses", "bus"),
        ("comic book", None),
        ("comic book of a book", "book"),
        ("hotdog, dogma", None),
        ("", None),
    ],
)
def test_a_prompt_names_a_subject_by_whole_words(album: Album, prompt: str, name: str | None) -> None:
    found = album.named(prompt)
    assert (found and found.names[0]) == name


def test_what_is_named_is_the_map_and_its_colours_enter(album: Album) -> None:
    settings = asked("fox, ink", conditioning_scale=0.8, seed=3)
    found = album.recall(settings, SIZE)
    assert found is not None
    assert (found.map.shape, found.map.dtype) == (SIZE, np.uint8)
    assert set(np.unique(found.map)) == {0, 255}
    assert 150 < (found.map > 0).sum() < 600, "lines a pixel wide"
    assert (found.colours.shape, found.colours.dtype) == ((SIZE[0] // SHRINK, SIZE[1] // SHRINK, 3), np.uint8)
    assert np.abs(found.colours[14:18, 14:18].astype(int) - BLUE).max() < 12
    wanted = settings.replace(control="canny", init_strength=ENTERS)
    assert found.settings == wanted
    assert album.held(settings) == wanted


def test_what_is_held_to_a_map_or_names_nothing_is_left_alone(album: Album) -> None:
    for settings in (asked("fox", control="canny"), asked("a meadow"), asked("a meadow", prompt_b="hills", blend=0.5)):
        assert album.recall(settings, SIZE) is None
        assert album.held(settings) is settings
    assert Album([]).recall(asked("fox"), SIZE) is None


def test_the_seed_says_where_it_stands_and_a_walk_moves_it_there(album: Album) -> None:
    maps = {
        share: album.recall(asked("fox", seed=1, seed_b=2, seed_blend=share), SIZE).map  # type: ignore[union-attr]
        for share in (0.0, 0.1, 0.5, 1.0)
    }
    there = album.recall(asked("fox", seed=2), SIZE)
    assert there is not None
    np.testing.assert_array_equal(maps[1.0], there.map)
    middles = {share: np.argwhere(drawn).mean(0) for share, drawn in maps.items()}
    way = middles[1.0] - middles[0.0]
    assert np.abs(way).max() > 2
    for share, middle in middles.items():
        np.testing.assert_allclose(middle, middles[0.0] + share * way, atol=1.0)


@pytest.mark.parametrize("size", [(128, 128), (256, 448), (448, 256)])
def test_lines_and_colours_are_of_one_place_at_every_size(album: Album, size: tuple[int, int]) -> None:
    for seed in range(4):
        found = album.recall(asked("dog", seed=seed), size)
        assert found is not None
        ys, xs = np.nonzero(found.map)
        assert 0 < ys.min() < ys.max() < size[0] - 1
        assert 0 < xs.min() < xs.max() < size[1] - 1
        coloured = np.abs(found.colours.astype(int) - ORANGE).max(-1) < 8
        cy, cx = np.argwhere(coloured).mean(0) * SHRINK + (SHRINK - 1) / 2
        assert abs(cy - (ys.min() + ys.max()) / 2) < 3
        assert abs(cx - (xs.min() + xs.max()) / 2) < 3


def test_between_two_subjects_lines_fade_and_colours_mix(album: Album) -> None:
    def at(share: float, other: str = "fox") -> tuple[float, np.ndarray]:
        found = album.recall(asked("dog", prompt_b=other, blend=share), SIZE)
        assert found is not None
        return found.settings.conditioning_scale, found.colours[16, 16].astype(int)

    scales = [at(share)[0] for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert scales == pytest.approx([1, 0.5, 0, 0.5, 1])
    assert np.abs(at(0.5)[1] - np.mean([ORANGE, BLUE], 0)).max() < 12
    assert at(0.5, "dog, comic book")[0] == 1.0, "the same one in another style stays"
    assert at(0.75, "a meadow")[0] == pytest.approx(0.5)


def test_it_is_kept_in_a_file_and_what_is_no_such_file_is_refused(album: Album, tmp_path: Path) -> None:
    file = tmp_path / FILE
    album.save(file)
    again = Album.load(file)
    assert [each.names for each in again.subjects] == [each.names for each in album.subjects]
    assert again.silent == album.silent
    for one, other in zip(album.subjects, again.subjects, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one.strokes, other.strokes, strict=True))
        seen = one.colours[..., 3] > 0
        assert np.abs(one.colours[seen].astype(int) - other.colours[seen]).mean() < 12, "they are packed with a loss"
    whole = file.read_bytes()
    for broken in (whole[: len(whole) // 2], b"", b"no archive"):
        file.write_bytes(broken)
        with pytest.raises(CheckpointError, match="holds no subjects"):
            Album.load(file)
    np.savez(file, names=np.array(["fox"]))
    with pytest.raises(CheckpointError, match="holds no subjects"):
        Album.load(file)


def test_a_model_has_one_where_the_file_lies_and_it_can_paint_from_lines(album: Album, tmp_path: Path) -> None:
    assert find_album(tmp_path, ("canny",)) is None
    assert find_album(None, ("canny",)) is None
    album.save(tmp_path / FILE)
    assert find_album(tmp_path, ("sketch",)) is None
    found = find_album(tmp_path, ("canny", "sketch"))
    assert found is not None
    assert len(found.subjects) == 5
