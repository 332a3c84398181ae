"""A folder of pictures with captions: ``cat.txt`` beside ``cat.jpg``, or a table as Hugging Face image folders have."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import TrainingError
from pipelines.training.data.decode import SUFFIXES, Unusable, check, decode

TABLES = ("captions.jsonl", "metadata.jsonl", "metadata.csv")
#: The names that a caption goes by in tables and in the shards' JSON.
KEYS = ("text", "caption", "prompt")


class Folder:
    """A source (see ``dataset``): the pictures of a folder and the folders in it, by name."""

    group = 1

    def __init__(self, folder: Path, size: tuple[int, int]) -> None:
        """Raises TrainingError when there is no picture with a caption. Headers are read, pictures are not."""
        self._folder, self._size = folder, size
        self.skipped: dict[str, str] = {}
        self.names: list[str] = []
        self.prompts: list[str] = []
        captions = dict(self._tables())
        for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES):
            self._take(path, captions)
        if not self.names:
            raise TrainingError(f"{folder} holds no picture that can be trained on{why(self.skipped)}.")

    def read(self, index: int) -> NDArray[np.uint8]:
        """uint8 H×W×3 RGB. Raises Unusable."""
        return decode(self._folder / self.names[index], self._size)

    def _take(self, path: Path, captions: Mapping[Path, str]) -> None:
        name = path.relative_to(self._folder).as_posix()
        try:
            check(path, self._size)
            self.prompts.append(captions[path] if path in captions else _beside(path))
            self.names.append(name)
        except Unusable as error:
            self.skipped[name] = str(error)

    def _tables(self) -> Iterator[tuple[Path, str]]:
        for path in sorted(path for name in TABLES for path in self._folder.rglob(name)):
            for line, row in self._rows(path):
                caption = caption_in(row)
                if caption and row.get("file_name"):
                    yield path.parent / str(row["file_name"]), caption
                else:
                    self.skipped[line] = f"has no file_name or no {KEYS[0]}"

    def _rows(self, path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """The name of each line and what it says."""
        name = path.relative_to(self._folder).as_posix()
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise TrainingError(f"The captions in {path} can't be read: {error}.") from None
        lines = text.splitlines()
        if path.suffix == ".csv":
            yield from ((f"{name}, line {number}", row) for number, row in enumerate(csv.DictReader(lines), 2))
            return
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield f"{name}, line {number}", _json_object(line)


def caption_in(row: Mapping[str, Any]) -> str:
    """The caption of a table's row, empty where there is none."""
    found = (row[key] for key in KEYS if isinstance(row.get(key), str))
    return next((text.strip() for text in found if text.strip()), "")


def why(skipped: Mapping[str, str]) -> str:
    """How many were skipped and the first of them, to end a sentence."""
    if not skipped:
        return ""
    name, reason = next(iter(skipped.items()))
    return f": {len(skipped)} skipped, the first, {name}, {reason}"


def _beside(path: Path) -> str:
    try:
        caption = path.with_suffix(".txt").read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        raise Unusable("has no caption") from None
    except (OSError, UnicodeDecodeError):
        raise Unusable("has a caption that can't be read as text") from None
    if not caption:
        raise Unusable("has an empty caption")
    return caption


def _json_object(line: str) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
    except ValueError:
        return {}
    return row if isinstance(row, dict) else {}
