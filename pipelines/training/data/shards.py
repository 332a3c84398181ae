"""WebDataset shards in any order: an index of each .tar is made once, then every sample is one read at its place."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import braceexpand
import numpy as np
from numpy.typing import NDArray

from pipelines.errors import TrainingError
from pipelines.folders import cache_folder
from pipelines.training.data.decode import SUFFIXES, Unusable, decode
from pipelines.training.data.folder import caption_in, why

_LAYOUT = 1  # of the index files: raise when they change


@dataclass(frozen=True)
class Entry:
    """One sample: where its picture lies in the .tar. ``reason``: why it is none, empty for a good one."""

    key: str
    offset: int = 0
    size: int = 0
    caption: str = ""
    reason: str = ""


class Shards:
    """A source (see ``dataset``): the samples of the shards, in the order in which they lie there."""

    group = 1

    def __init__(self, files: Sequence[Path], size: tuple[int, int]) -> None:
        """Raises TrainingError when a shard is missing or none holds a picture with a caption."""
        self._size = size
        self._places: list[tuple[Path, Entry]] = []
        self.skipped: dict[str, str] = {}
        for file in files:
            for entry in index_of(file):
                if entry.reason:
                    self.skipped[f"{file.name}/{entry.key}".rstrip("/")] = entry.reason
                else:
                    self._places.append((file, entry))
        self.names = [f"{file.name}/{entry.key}" for file, entry in self._places]
        self.prompts = [entry.caption for _, entry in self._places]
        if not self.names:
            raise TrainingError(f"The shards hold no picture that can be trained on{why(self.skipped)}.")

    def read(self, index: int) -> NDArray[np.uint8]:
        """uint8 H×W×3 RGB. Raises Unusable."""
        path, entry = self._places[index]
        try:
            with path.open("rb") as file:
                file.seek(entry.offset)
                return decode(io.BytesIO(file.read(entry.size)), self._size)
        except OSError as error:
            raise Unusable(f"can't be read ({error})") from None


def shard_files(spec: str) -> list[Path]:
    """The shards that a path, a folder or brace notation names; none if ``spec`` speaks of something else."""
    folder = Path(spec).expanduser()
    if folder.is_dir():
        return sorted(folder.glob("*.tar"))
    if not spec.endswith(".tar"):
        return []
    try:
        return [Path(each).expanduser() for each in braceexpand.braceexpand(spec)]
    except ValueError:
        raise TrainingError(f"The braces in {spec} don't match; write shards-{{0000..0009}}.tar, say.") from None


def index_of(file: Path) -> list[Entry]:
    """The samples of one shard, from the cache folder if it has been looked through before. Raises TrainingError."""
    try:
        about = file.stat()
    except OSError as error:
        raise TrainingError(f"The shard {file} can't be read: {error.strerror}.") from None
    words = f"{_LAYOUT} {file.resolve()} {about.st_size} {about.st_mtime_ns}"
    kept = cache_folder() / "shards" / f"{hashlib.sha256(words.encode()).hexdigest()[:32]}.json"
    try:
        return [Entry(**each) for each in json.loads(kept.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError):
        entries = _look_through(file)
        _keep(kept, entries)
        return entries


def _keep(path: Path, entries: Sequence[Entry]) -> None:
    """A folder that can't be written is no error: the next start looks again. Processes may write at once."""
    own = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        own.write_text(json.dumps([asdict(entry) for entry in entries]), encoding="utf-8")
        own.replace(path)
    except OSError:
        return


def _look_through(file: Path) -> list[Entry]:
    """Group the members by their key, as WebDataset does: the path up to the first dot of the file's name."""
    groups: dict[str, dict[str, tarfile.TarInfo]] = {}
    broken = []
    try:
        with tarfile.open(file, "r:") as tar:
            try:
                for member in tar:
                    folder, _, name = member.name.rpartition("/")
                    stem, _, suffix = name.partition(".")
                    if member.isfile() and stem:
                        groups.setdefault(f"{folder}/{stem}".lstrip("/"), {})[f".{suffix.lower()}"] = member
            except (tarfile.TarError, OSError) as error:
                broken.append(Entry(key="", reason=f"is cut short ({error}); what lies before is used"))
            return [_entry(tar, key, members) for key, members in groups.items()] + broken
    except (tarfile.TarError, OSError) as error:
        return [Entry(key="", reason=f"is no .tar that can be read ({error})")]


def _entry(tar: tarfile.TarFile, key: str, members: dict[str, tarfile.TarInfo]) -> Entry:
    picture = next((member for suffix, member in members.items() if suffix in SUFFIXES), None)
    if picture is None:
        return Entry(key=key, reason="has no picture")
    try:
        caption = _caption(tar, members)
    except (tarfile.TarError, OSError, ValueError):
        return Entry(key=key, reason="has a caption that can't be read")
    if not caption:
        return Entry(key=key, reason="has no caption")
    return Entry(key=key, offset=picture.offset_data, size=picture.size, caption=caption)


def _caption(tar: tarfile.TarFile, members: dict[str, tarfile.TarInfo]) -> str:
    texts = {
        suffix: file.read().decode("utf-8")
        for suffix in (".txt", ".json")
        if suffix in members and (file := tar.extractfile(members[suffix])) is not None
    }
    if texts.get(".txt", "").strip():
        return texts[".txt"].strip()
    said = json.loads(texts.get(".json", "{}"))
    return caption_in(said) if isinstance(said, dict) else ""
