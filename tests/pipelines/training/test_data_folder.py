"""Folders of pictures: what can't be trained on is named and never stops a run."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipelines.errors import TrainingError
from pipelines.training.data.dataset import open_data, write_skipped

SIZE = (64, 64)


def write(path: Path, level: int, side: tuple[int, int] = (80, 80), caption: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*side, 3), level, np.uint8))
    if caption is not None:
        path.with_suffix(".txt").write_text(caption)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(6):
        write(tmp_path / f"good-{number}.png", 40 * number, caption=f"grey number {number}")
    return tmp_path


def test_pictures_come_with_their_captions_at_the_size_asked_for(folder: Path) -> None:
    train, held_out = open_data(str(folder), (64, 96))
    assert list(train.prompts) == [f"grey number {number}" for number in range(5)]
    assert list(held_out.prompts) == ["grey number 5"]
    assert train.has_pictures
    for index in range(len(train)):
        picture, prompt = train.sample(index)
        assert (picture.shape, picture.dtype) == ((64, 96, 3), np.uint8)
        assert (picture == 40 * index).all()
        assert prompt == train.prompts[index]


def test_broken_tiny_and_captionless_pictures_are_named(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "broken.jpg").write_bytes(b"no picture at all")
    (folder / "broken.txt").write_text("broken")
    write(folder / "sub" / "tiny.png", 9, side=(31, 200), caption="tiny")
    write(folder / "silent.png", 9)
    write(folder / "empty.png", 9, caption=" \n")
    train, held_out = open_data(str(folder), SIZE)
    assert set(train.skipped) == {"broken.jpg", "sub/tiny.png", "silent.png", "empty.png"}
    assert "200×31" in train.skipped["sub/tiny.png"]
    assert len(train) + len(held_out) == 6
    assert "4 skipped in" in caplog.text
    assert "silent.png has no caption" in caplog.text
    write_skipped(train, folder / "notes" / "skipped.txt")
    lines = (folder / "notes" / "skipped.txt").read_text().splitlines()
    assert [line.split(":")[0] for line in lines] == ["broken.jpg", "empty.png", "silent.png", "sub/tiny.png"]


def test_a_picture_cut_short_is_replaced_by_the_next_good_one_with_its_caption(folder: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (80, 80, 3), np.uint8)
    cv2.imwrite(str(folder / "good-2.png"), noise)
    whole = (folder / "good-2.png").read_bytes()
    (folder / "good-2.png").write_bytes(whole[: len(whole) // 2])
    train, held_out = open_data(str(folder), SIZE)
    assert not train.skipped  # its header is fine
    picture, prompt = train.sample(2)
    assert prompt == "grey number 3"
    assert (picture == 120).all()
    assert set(train.skipped) == {"good-2.png"}
    assert (train.picture(2) == 120).all()
    assert "good-2.png" in held_out.skipped


def test_a_transparent_picture_lies_on_white_and_a_turned_one_stands_upright(tmp_path: Path) -> None:
    from PIL import Image

    clear = Image.new("RGBA", (64, 64), (255, 0, 0, 0))
    clear.save(tmp_path / "a.png")
    wide = Image.new("RGB", (128, 64), "black")
    wide.paste("white", (64, 0, 128, 64))  # the right half
    exif = wide.getexif()
    exif[0x0112] = 6  # turned by 90 degrees: its right is the bottom
    wide.save(tmp_path / "b.jpg", exif=exif, quality=95)
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text(name)
    train, held_out = open_data(str(tmp_path), (128, 64))
    assert (train.picture(0) == 255).all()
    upright = held_out.picture(0)
    assert upright[:60].max() < 20
    assert upright[68:].min() > 235


@pytest.mark.parametrize("table", ["captions.jsonl", "metadata.jsonl", "metadata.csv"])
def test_captions_may_stand_in_a_table(tmp_path: Path, table: str) -> None:
    rows = [{"file_name": f"{number}.png", "text": f"told by a table, {number}"} for number in range(3)]
    for number in range(3):
        write(tmp_path / "train" / f"{number}.png", number)
    lines = [json.dumps(row) for row in rows] + ["no JSON"]
    if table.endswith("csv"):
        lines = ["file_name,text", *(f'{row["file_name"]},"{row["text"]}"' for row in rows), ",alone"]
    (tmp_path / "train" / table).write_text("\n".join(lines))
    train, held_out = open_data(str(tmp_path), SIZE)
    assert [*train.prompts, *held_out.prompts] == [row["text"] for row in rows]
    assert list(train.skipped) == [f"train/{table}, line {5 if table.endswith('csv') else 4}"]


def test_nothing_usable_is_an_error_that_says_why(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="holds no picture"):
        open_data(str(tmp_path), SIZE)
    write(tmp_path / "silent.png", 0)
    with pytest.raises(TrainingError, match=r"1 skipped, the first, silent\.png, has no caption"):
        open_data(str(tmp_path), SIZE)
    write(tmp_path / "only.png", 0, caption="alone")
    with pytest.raises(TrainingError, match="two are the least"):
        open_data(str(tmp_path), SIZE)
    with pytest.raises(TrainingError, match="There is no data 'nowhere'"):
        open_data("nowhere", SIZE)
    with pytest.raises(TrainingError, match="--data"):
        open_data("", SIZE)


def test_when_no_picture_can_be_read_the_run_ends_with_a_sentence(folder: Path) -> None:
    train, _ = open_data(str(folder), SIZE)
    for path in folder.glob("*.png"):
        path.write_bytes(b"gone bad")
    with pytest.raises(TrainingError, match="Not one picture"):
        train.sample(0)


def test_prompts_alone(tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("\n".join(["one", "", " two ", *(f"more {number}" for number in range(40))]))
    train, held_out = open_data(str(file), SIZE)
    assert not train.has_pictures
    assert list(train.prompts[:3]) == ["one", "two", "more 0"]
    assert len(train) + len(held_out) == 42
    assert len(held_out) == 2
    assert not set(train.prompts) & set(held_out.prompts)
    with pytest.raises(TrainingError, match="prompts without pictures"):
        train.picture(0)
    with pytest.raises(TrainingError, match="can't be read"):
        open_data(str(tmp_path / "missing.txt"), SIZE)
