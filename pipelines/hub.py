"""Repositories of the Hugging Face hub as plain folders: fetched file by file, resumed, and nothing twice."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.errors import DownloadError, MisfitError
from pipelines.folders import models_folder
from pipelines.parts import Part

#: Seconds until a silent hub counts as out of reach.
_PATIENCE = 10.0
_SEGMENT = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
_GIB = 2**30


@dataclasses.dataclass(frozen=True, kw_only=True)
class Offer:
    """One file of a repository. ``sha256`` is known of those kept as large files; ``mark`` changes with the content."""

    size: int
    sha256: str
    mark: str


def is_repository(name: str) -> bool:
    """Whether it has the form OWNER/NAME."""
    return bool(re.fullmatch(f"{_SEGMENT}/{_SEGMENT}", name)) and ".." not in name


def repository_folder(name: str) -> Path:
    """Where the files of OWNER/NAME are kept. Raises MisfitError for a name that is none."""
    if not is_repository(name):
        raise MisfitError(f"{name!r} is no repository; it looks like OWNER/NAME, in letters, digits and . _ - only.")
    return models_folder() / name


class Hub:
    """The hub at ``endpoint`` (``$HF_ENDPOINT``, otherwise huggingface.co). Nothing is asked before it is needed.

    ``absent``: all parts that will be asked for, so that who is offline learns of all of them at once.
    """

    def __init__(self, endpoint: str | None = None, *, absent: Sequence[Part] = ()) -> None:
        self._absent = absent
        self._endpoint = (endpoint or os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
        self._offers: dict[str, Mapping[str, Offer]] = {}

    def offers(self, part: Part) -> Mapping[str, Offer]:
        """What the repository has, by path. Raises DownloadError."""
        if part.repo not in self._offers:
            with self._in_words(part):
                self._offers[part.repo] = self._list(part.repo)
        return self._offers[part.repo]

    def fetch(self, wanted: Sequence[tuple[Part, Sequence[str]]]) -> None:
        """Fetch each part's files that are not in its folder yet; a broken-off one goes on where it stopped.

        Raises DownloadError with one sentence, before the first byte where the disk has no room.
        """
        todo = [(part, path) for part, paths in wanted for path in paths if not (part.folder / path).is_file()]
        if not todo:
            return
        self._check_room(todo)
        for part, path in todo:
            with self._in_words(part):
                self._fetch(part, path)

    def tensor_shapes(self, part: Part, path: str) -> dict[str, list[int]]:
        """The shapes in a safetensors file, read from its first bytes. Raises DownloadError."""
        with self._in_words(part):
            header = _api(self._endpoint).parse_safetensors_file_metadata(part.repo, path)
            return {name: list(tensor.shape) for name, tensor in header.tensors.items()}

    def _list(self, repo: str) -> dict[str, Offer]:
        about = _api(self._endpoint).model_info(repo, files_metadata=True, timeout=_PATIENCE)
        offers = {}
        for file in about.siblings or ():
            sha256 = str(file.lfs["sha256"]) if file.lfs else ""
            mark = sha256 or str(file.blob_id or file.size)
            offers[file.rfilename] = Offer(size=int(file.size or 0), sha256=sha256, mark=mark[:16])
        return offers

    def _fetch(self, part: Part, path: str) -> None:
        """One file; of two programs that want it, the second waits for the first and then has it."""
        from huggingface_hub.utils import WeakFileLock

        target = part.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = target.with_name(f".{target.name}.lock")
        with WeakFileLock(lock):
            # Meanwhile it may also have come, and been turned from a pickle into something else.
            if not target.is_file() and not part.is_here():
                self._continue(part, path, target)
        lock.unlink(missing_ok=True)

    def _continue(self, part: Part, path: str, target: Path) -> None:
        from huggingface_hub import hf_hub_url
        from huggingface_hub.file_download import http_get
        from huggingface_hub.utils import build_hf_headers

        offer = self.offers(part)[path]
        begun = target.with_name(f".{target.name}.{offer.mark}.part")
        for other in target.parent.glob(f".{target.name}.*.part"):
            if other != begun or other.stat().st_size > offer.size:
                other.unlink()
        with begun.open("ab") as file:
            http_get(
                hf_hub_url(part.repo, path, endpoint=self._endpoint),
                file,
                resume_size=file.tell(),
                headers=build_hf_headers(),
                expected_size=offer.size,
                displayed_filename=f"{part.repo.partition('/')[2]}/{path}",
            )
        if offer.sha256 and _sha256(begun) != offer.sha256:
            begun.unlink()
            raise DownloadError(f"{path} of {part.repo} arrived with errors; fetch it again.")
        begun.replace(target)

    def _check_room(self, todo: Sequence[tuple[Part, str]]) -> None:
        needed = sum(self.offers(part)[path].size for part, path in todo)
        folder = todo[0][0].folder
        existing = next(each for each in (folder, *folder.parents) if each.exists())
        free = shutil.disk_usage(existing).free
        if needed > free:
            raise DownloadError(
                f"{todo[0][0].repo} takes {_amount(needed)} more on the disk of {existing}, where {_amount(free)} are "
                "free; make room, or set SDXS_MODELS to a folder that has it."
            )

    @contextlib.contextmanager
    def _in_words(self, part: Part) -> Iterator[None]:
        """The library's many ways of failing, each as a sentence that says what to do."""
        from huggingface_hub import errors

        logger = logging.getLogger("huggingface_hub")
        level = logger.level
        logger.setLevel(logging.ERROR)  # its retries are shown by the progress bar that stands still
        try:
            yield
        except (errors.GatedRepoError, errors.RepositoryNotFoundError, errors.EntryNotFoundError) as error:
            raise DownloadError(self._refusal(part, error)) from None
        except (errors.HTTPError, errors.HfHubHTTPError, OSError) as error:
            raise DownloadError(self._failure(part, error)) from None
        finally:
            logger.setLevel(level)

    def _refusal(self, part: Part, error: Exception) -> str:
        from huggingface_hub import errors

        if isinstance(error, errors.GatedRepoError):
            return (
                f"{part.repo} is given only to those who agree to its terms: do so at {self._endpoint}/{part.repo}, "
                "then run 'hf auth login' or set HF_TOKEN."
            )
        if isinstance(error, errors.EntryNotFoundError):
            return f"{part.repo} no longer has a file that it listed; try again."
        return (
            f"There is no repository {part.repo} at {self._endpoint}, or it is private; check the name, and for a "
            "private one run 'hf auth login' or set HF_TOKEN."
        )

    def _failure(self, part: Part, error: Exception) -> str:
        full = getattr(error, "errno", None)
        if full is not None and not isinstance(error, ConnectionError):
            return f"{part.folder} can't be written ({os.strerror(full)}); make room there, or set SDXS_MODELS."
        status = getattr(getattr(error, "response", None), "status_code", None)
        why = f"it answered {status}" if status else _first_line(error)
        begun = any(part.folder.rglob("*.part"))
        if begun:
            return f"The download of {part.repo} broke off ({why}); run it again, and it goes on where it stopped."
        places = "; ".join(f"{each.wanted} of {each.repo} go into {each.folder}" for each in self._absent or [part])
        return (
            f"{part.repo} is not here and {self._endpoint} can't be reached ({why}): run 'sdxs-live models pull' where "
            f"there is a network and copy the folder {models_folder()}, or fetch by hand: {places}."
        )


def _api(endpoint: str) -> Any:
    from huggingface_hub import HfApi

    return HfApi(endpoint=endpoint, library_name="sdxs-live")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**22):
            digest.update(block)
    return digest.hexdigest()


def _first_line(error: Exception) -> str:
    lines = re.sub(r"\[Errno -?\d+\] ", "", str(error)).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:120].rstrip(". ")


def _amount(size: int) -> str:
    return f"{size / _GIB:.1f} GiB" if size >= _GIB / 10 else f"{size / 2**20:.1f} MiB"
