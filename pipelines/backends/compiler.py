"""torch.compile as the backend ``compiled`` uses it: if it can run here, its options, and where its results stay."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from pipelines.backends.compiled_frames import Compile
from pipelines.errors import BackendError
from pipelines.folders import cache_folder

#: What is compiled, times batch sizes, map sizes and models of one process: the default of 8 would not do.
_RECOMPILE_LIMIT = 1024
#: The packages that compile.
_ITS_OWN = ("torch._dynamo", "torch._inductor", "triton")
_FOLDER = "TORCHINDUCTOR_CACHE_DIR"


def why_not(device: torch.device) -> str:
    """Why torch.compile can't run on ``device`` of this machine, to be read behind "as"; empty when it can."""
    if device.type == "cuda":
        if find_spec("triton") is None:
            return "torch.compile needs Triton, which is not installed"
        if torch.cuda.get_device_capability(device) < (7, 0):
            return "Triton needs a GPU of compute capability 7.0 or newer"
    compilers = ("CC", "gcc", "clang") if device.type == "cuda" else ("CXX", "g++", "clang++")
    if not any(shutil.which(os.environ.get(name, name)) for name in compilers):
        return f"torch.compile needs a C++ compiler, and neither {compilers[1]} nor {compilers[2]} is here"
    return ""


def torch_compile(device: torch.device, *, thorough: bool) -> Compile:
    """``thorough``: on a GPU, measure many kernels for each layer (minutes at the first start) and take the best."""
    mode = "max-autotune-no-cudagraphs" if thorough and device.type == "cuda" else "default"

    def compile_(what: Any) -> Any:
        return torch.compile(what, mode=mode, fullgraph=True, dynamic=False)

    return compile_


@contextlib.contextmanager
def compiling() -> Iterator[None]:
    """Around a first run. What is compiled is kept between starts. Raises BackendError when the compiler fails."""
    _keep_results()
    from torch._dynamo import config
    from torch._inductor import config as inductor

    limits = config.patch(recompile_limit=_RECOMPILE_LIMIT, accumulated_recompile_limit=_RECOMPILE_LIMIT)
    # It would print a table of kernels for each layer.
    silence = inductor.patch(autotune_num_choices_displayed=0)
    try:
        with limits, silence:
            yield
    except Exception as error:
        # Their exceptions have moved from version to version. Too little memory is no failure of the compiler.
        if not type(error).__module__.startswith(_ITS_OWN) or "OutOfMemoryError" in str(error):
            raise
        raise BackendError(f"The networks can't be compiled here ({_first(error)}); use --backend eager.") from error


def _first(error: Exception) -> str:
    """The first line that says something; those above only say who is being quoted."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line and not line.endswith(":")), type(error).__name__)


def _keep_results() -> None:
    """In our own cache folder, unless the person chose another; the system's temporary one is emptied at a restart."""
    if not _is_own(os.environ.get(_FOLDER)):
        return
    folder = cache_folder() / "compiled"
    with contextlib.suppress(OSError):  # a folder that can't be written is no error: then it is the temporary one
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            os.environ[_FOLDER] = str(folder)


def _is_own(chosen: str | None) -> bool:
    """Whether the compiler chose it, which writes its choice into the environment when it is imported."""
    if chosen is None:
        return True
    folder = Path(chosen)
    return folder.parent == Path(tempfile.gettempdir()).absolute() and folder.name.startswith("torchinductor_")
