"""What a training run learns from: ``open_data`` reads the word behind ``--data``.

- a folder of pictures, captions beside them (``cat.txt`` for ``cat.jpg``) or in a table (``folder``)
- WebDataset shards: a ``.tar``, a folder of them, or ``shards-{0000..0009}.tar`` (``shards``)
- a ``.txt`` file of prompts, one a line: no pictures
- ``shapes``: a small drawn world (``shapes``)
- ``drawn[:FOLDER]``: styles drawn along the edges of prepared canvases (``drawn.styled``)
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import TrainingError
from pipelines.training.data.decode import Unusable
from pipelines.training.data.folder import Folder
from pipelines.training.data.lazy import Lazy
from pipelines.training.data.shapes import Shapes
from pipelines.training.data.shards import Shards, shard_files
from pipelines.training.drawn.styled import Example, Styled

Picture = NDArray[np.uint8]

#: Of so many groups of samples the last is held out.
HOLD_OUT_EVERY = 20
#: So many of what was skipped are named at once; a stage writes all of them to its folder.
_NAMED = 5
_LOG = logging.getLogger(__name__)


class Source(Protocol):
    """All samples of one kind of data, in a fixed order.

    ``names``: what each is called in messages. ``group``: so many neighbours show the same thing and are held out
    together. ``skipped``: name → reason of what was no sample.
    """

    @property
    def names(self) -> Sequence[str]: ...

    @property
    def prompts(self) -> Sequence[str]: ...

    @property
    def group(self) -> int: ...

    @property
    def skipped(self) -> Mapping[str, str]: ...

    def read(self, index: int) -> Picture:
        """uint8 H×W×3 RGB of the size asked for. Raises Unusable where it can't be read."""


class Dataset(Protocol):
    """One part of the data: what is trained on, or what is held out."""

    @property
    def prompts(self) -> Sequence[str]:
        """One a sample."""

    @property
    def has_pictures(self) -> bool: ...

    @property
    def skipped(self) -> Mapping[str, str]:
        """File → reason, of the whole data; grows where a file shows only when read that it is broken."""

    def __len__(self) -> int: ...

    def picture(self, index: int) -> Picture:
        """uint8 H×W×3 RGB."""

    def sample(self, index: int) -> tuple[Picture, str]:
        """The picture and its prompt. For a broken picture both are the next good sample's."""


class Part:
    """Dataset: the samples ``indices`` of a source."""

    has_pictures = True

    def __init__(self, source: Source, indices: Sequence[int], skipped: dict[str, str]) -> None:
        self._source, self._indices, self.skipped = source, indices, skipped
        self.prompts: Sequence[str] = _chosen(source.prompts, indices)

    def __len__(self) -> int:
        return len(self._indices)

    @property
    def has_examples(self) -> bool:
        """Whether ``example`` can be asked."""
        return isinstance(self._source, Styled)

    def picture(self, index: int) -> Picture:
        """uint8 H×W×3 RGB; of the next good sample where this one is broken."""
        return self.sample(index)[0]

    def example(self, index: int, field: NDArray[np.float32] | None, blend: float = 0.0) -> Example:
        """The picture with its map and colours, see ``drawn.styled``. Raises TrainingError where the data have none."""
        if not isinstance(self._source, Styled):
            raise TrainingError("These data have no maps and colours of their own; only `drawn` has.")
        return self._source.example(self._indices[index], field, blend)

    def sample(self, index: int) -> tuple[Picture, str]:
        """Raises TrainingError when not one picture can be read."""
        for step in range(len(self)):
            at = self._indices[(index + step) % len(self)]
            name = self._source.names[at]
            if name in self.skipped:
                continue
            try:
                return self._source.read(at), self._source.prompts[at]
            except Unusable as error:
                self.skipped[name] = str(error)
                _LOG.warning("%s is skipped: %s.", name, error)
        raise TrainingError(f"Not one picture of the data can be read; the last, {name}, {self.skipped[name]}.")


class Prompts:
    """Dataset of prompts alone."""

    has_pictures = False
    has_examples = False
    skipped: Mapping[str, str] = {}

    def __init__(self, prompts: Sequence[str]) -> None:
        self.prompts = prompts

    def __len__(self) -> int:
        return len(self.prompts)

    def picture(self, index: int) -> Picture:
        """Raises TrainingError."""
        raise TrainingError("The data are prompts without pictures; give this stage a folder of pictures or shards.")

    def sample(self, index: int) -> tuple[Picture, str]:
        """Raises TrainingError."""
        return self.picture(index), self.prompts[index]


def open_data(spec: str, size: tuple[int, int]) -> tuple[Dataset, Dataset]:
    """What to train on and what is held out, the same at every call, pictures cut to ``size`` (height, width).

    Raises TrainingError for data that are not there or hold nothing usable.
    """
    if not spec:
        raise TrainingError(
            "This recipe needs data: give a folder of pictures, shards or a file of prompts with --data."
        )
    path = Path(spec).expanduser()
    if spec.endswith(".txt"):
        prompts = _read_prompts(path)
        trained, held_out = split(len(prompts), 1, spec)
        return Prompts(_chosen(prompts, trained)), Prompts(_chosen(prompts, held_out))
    source = _open_source(spec, path, size)
    skipped = dict(source.skipped)
    if skipped:
        named = "; ".join(f"{name} {reason}" for name, reason in list(skipped.items())[:_NAMED])
        _LOG.warning("%d skipped in %s: %s%s", len(skipped), spec, named, "; …" if len(skipped) > _NAMED else ".")
    trained, held_out = split(len(source.names), source.group, spec)
    return Part(source, trained, skipped), Part(source, held_out, skipped)


def write_skipped(data: Dataset, file: Path) -> None:
    """A line for each file that was skipped, with the reason; no file where none was."""
    if data.skipped:
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = sorted(f"{name}: {reason}\n" for name, reason in data.skipped.items())
        file.write_text("".join(lines), encoding="utf-8")


def split(count: int, group: int, spec: str) -> tuple[Sequence[int], Sequence[int]]:
    """Every twentieth group of samples is held out, or the last one where there are fewer. Raises TrainingError."""
    groups = -(-count // group)
    if groups < 2:
        raise TrainingError(f"{spec} holds {groups} usable sample(s); two are the least, as one is held out.")
    place = np.arange(count) // group
    held = place % HOLD_OUT_EVERY == HOLD_OUT_EVERY - 1 if groups >= HOLD_OUT_EVERY else place == groups - 1
    return np.flatnonzero(~held).tolist(), np.flatnonzero(held).tolist()


def _open_source(spec: str, path: Path, size: tuple[int, int]) -> Source:
    if spec == "shapes":
        return Shapes(size)
    if spec == "drawn" or spec.startswith("drawn:"):
        return Styled(spec.partition(":")[2], size)
    if files := shard_files(spec):
        return Shards(files, size)
    if path.is_dir():
        return Folder(path, size)
    raise TrainingError(
        f"There is no data {spec!r}: it is no folder of pictures, no .tar with shards, no .txt with prompts, and "
        "neither `shapes` nor `drawn`."
    )


def _read_prompts(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingError(f"The prompts in {path} can't be read: {error}.") from None
    return [line.strip() for line in lines if line.strip()]


def _chosen(whole: Sequence[str], indices: Sequence[int]) -> Lazy:
    return Lazy(len(indices), partial(_at, whole, indices))  # no lambda: workers may have to pickle it


def _at(whole: Sequence[str], indices: Sequence[int], index: int) -> str:
    return whole[indices[index]]
