"""WebDataset shards in random access give what reading them in order gives."""

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
import webdataset
from PIL import Image

from pipelines.errors import TrainingError
from pipelines.training.data.dataset import open_data
from pipelines.training.data.decode import decode
from pipelines.training.data.shards import index_of, shard_files

SIZE = (64, 64)


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDXS_CACHE", str(tmp_path_factory.mktemp("cache")))


def packed(seed: int, suffix: str) -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), np.uint8)
    Image.fromarray(noise).resize((70, 90)).save(file, {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[suffix])
    return file.getvalue()


def write_shards(folder: Path, shards: int = 3, each: int = 5) -> None:
    for shard in range(shards):
        with webdataset.TarWriter(str(folder / f"s-{shard:02d}.tar")) as tar:
            for number in range(each):
                key = f"sub.folder/{shard:02d}-{number:03d}"
                suffix = ("jpg", "png", "webp")[number % 3]
                words = f"sample {key}"
                caption = {"txt": words} if number % 2 else {"json": json.dumps({"caption": words}).encode()}
                tar.write({"__key__": key, suffix: packed(10 * shard + number, suffix), **caption})


def test_random_access_is_the_same_as_reading_in_order(tmp_path: Path) -> None:
    write_shards(tmp_path)
    in_order = list(webdataset.WebDataset(str(tmp_path / "s-{00..02}.tar"), shardshuffle=False, empty_check=False))
    assert len(in_order) == 15
    for spec in (str(tmp_path), str(tmp_path / "s-{00..02}.tar")):
        train, held_out = open_data(spec, SIZE)
        assert (len(train), len(held_out)) == (14, 1)
        for index in (13, 0, 7, 3, 12):
            picture, prompt = train.sample(index)
            (suffix,) = {"jpg", "png", "webp"} & in_order[index].keys()
            np.testing.assert_array_equal(picture, decode(io.BytesIO(in_order[index][suffix]), SIZE))
            assert prompt == f"sample {in_order[index]['__key__']}"


def test_the_index_is_made_once_and_anew_when_the_shard_changes(tmp_path: Path) -> None:
    write_shards(tmp_path, shards=1)
    (file,) = shard_files(str(tmp_path / "s-00.tar"))
    entries = index_of(file)
    raw = file.read_bytes()
    assert [raw[entry.offset : entry.offset + entry.size] for entry in entries] == [
        packed(number, ("jpg", "png", "webp")[number % 3]) for number in range(5)
    ]
    stat = file.stat()
    file.write_bytes(b"x" * len(raw))  # the same length and time, so the index is not made again
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert index_of(file) == entries
    write_shards(tmp_path, shards=1, each=7)
    assert len(index_of(file)) == 7


def test_members_that_are_no_samples_are_named(tmp_path: Path) -> None:
    with webdataset.TarWriter(str(tmp_path / "a.tar")) as tar:
        for number in range(3):
            tar.write({"__key__": f"good{number}", "png": packed(number, "png"), "txt": f"good {number}"})
        tar.write({"__key__": "silent", "png": packed(0, "png")})
        tar.write({"__key__": "blind", "txt": "words"})
        tar.write({"__key__": "garbled", "png": packed(0, "png"), "json": b"{"})
        tar.write({"__key__": "broken", "png": b"no picture", "txt": "broken"})
    train, held_out = open_data(str(tmp_path / "a.tar"), SIZE)
    assert set(train.skipped) == {"a.tar/silent", "a.tar/blind", "a.tar/garbled"}
    assert [*train.prompts, *held_out.prompts] == ["good 0", "good 1", "good 2", "broken"]
    with pytest.raises(TrainingError, match="broken"):
        held_out.sample(0)


def test_a_shard_cut_short_gives_what_lies_before(tmp_path: Path) -> None:
    write_shards(tmp_path, shards=2)
    whole = (tmp_path / "s-01.tar").read_bytes()
    (tmp_path / "s-01.tar").write_bytes(whole[: len(whole) // 2])
    train, _ = open_data(str(tmp_path), SIZE)
    assert 5 < len(train) + 1 < 10
    for index in range(len(train)):
        train.sample(index)


def test_missing_and_unreadable_shards_are_errors_with_their_name(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"s-01\.tar can't be read"):
        open_data(str(tmp_path / "s-{01..02}.tar"), SIZE)
    (tmp_path / "bad.tar").write_bytes(b"no tar" * 1000)
    with pytest.raises(TrainingError, match=r"bad\.tar, is no \.tar that can be read"):
        open_data(str(tmp_path / "bad.tar"), SIZE)
    with pytest.raises(TrainingError, match="braces"):
        open_data(str(tmp_path / "s-{01..02.tar"), SIZE)
