"""Training in several processes of this machine that know of each other, and what came of them.

Their places are told as torchrun tells them. accelerate's own launcher starts a single process on CPUs (1.15), and
torchrun makes a page of errors of a run that was only asked to stop.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

from torch.distributed import TCPStore

from pipelines.errors import TrainingStopped

Children = Sequence["subprocess.Popen[bytes]"]
_ASKS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def launch(
    arguments: Sequence[str], *, processes: int = 1, environment: Mapping[str, str] | None = None, patience: float = 60
) -> int:
    """Run ``python ARGUMENTS`` that many times at once; 0, or the exit code of the first that failed.

    Ctrl-C and its like are passed on, once each; a second Ctrl-C ends all at once. When one process has failed, the
    others get ``patience`` seconds. Raises TrainingStopped after somebody asked for an end.
    """
    port = _free_port() if processes > 1 else 0
    children = [
        subprocess.Popen(
            [sys.executable, *arguments],
            env={**os.environ, **(environment or {}), **_place(rank, processes, port)},
            start_new_session=True,  # a Ctrl-C in the terminal reaches them through this process alone
        )
        for rank in range(processes)
    ]
    try:
        with _passed_on(children) as asked:
            code = _wait(children, patience)
    finally:
        for child in children:
            child.kill()
            child.wait()
    if code and asked:
        raise TrainingStopped("Stopped; the same command goes on with what was saved.")
    return code


def _place(rank: int, processes: int, port: int) -> dict[str, str]:
    if processes == 1:
        return {}
    said = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
    return {**{name: str(value) for name, value in said.items()}, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}


def _free_port() -> int:
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    return int(store.port)


def _wait(children: Children, patience: float) -> int:
    """Until the last has ended."""
    ends = float("inf")
    while running := [child for child in children if child.poll() is None]:
        if ends == float("inf") and any(child.returncode for child in children):
            ends = time.monotonic() + patience
        if time.monotonic() > ends:
            for child in running:
                child.kill()
        try:
            running[0].wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            continue
    return next((child.returncode for child in children if child.returncode), 0)


@contextmanager
def _passed_on(children: Children) -> Iterator[list[int]]:
    """The signals that came, oldest first; each kind goes to the children once."""
    asked: list[int] = []

    def take(number: int, frame: FrameType | None) -> None:
        hurry = number == signal.SIGINT and number in asked
        for child in children:
            if child.poll() is None and (hurry or not asked):
                child.send_signal(signal.SIGKILL if hurry else number)
        asked.append(number)

    before: dict[Any, Any] = {each: signal.signal(each, take) for each in _ASKS}
    try:
        yield asked
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
