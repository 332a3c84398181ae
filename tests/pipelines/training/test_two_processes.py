"""Two processes on the CPU (gloo), each in pieces, against one that takes each batch at once."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pipelines.training.journal import LOG, VALIDATION, read_journal
from tests.pipelines.training import one_of_two

ROOT = Path(__file__).parents[3]
WEIGHTS = Path("vae/diffusion_pytorch_model.safetensors")


def start(rank: int, port: int, *arguments: Path) -> subprocess.Popen[str]:
    """What ``accelerate launch --cpu`` starts, without its own seconds of starting."""
    places = {
        "ACCELERATE_USE_CPU": "true",
        "RANK": rank,
        "LOCAL_RANK": rank,
        "WORLD_SIZE": 2,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
    }
    return subprocess.Popen(
        [sys.executable, "-m", one_of_two.__name__, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", **{name: str(value) for name, value in places.items()}},
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_processes_in_pieces_train_the_model_of_one(tmp_path: Path) -> None:
    losses = one_of_two.train(one_of_two.a_run(tmp_path), tmp_path / "one")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pair = [start(rank, port, tmp_path, tmp_path / "two") for rank in range(2)]
    try:
        said = [each.communicate(timeout=150)[1] for each in pair]
    finally:
        for each in pair:
            each.kill()
    assert [each.returncode for each in pair] == [0, 0], said
    one, two = (read_journal(tmp_path / each, LOG) for each in ("one", "two"))
    assert [line["decoder.loss"] for line in one] == pytest.approx(losses, rel=1e-5)
    for ours, theirs in zip(one, two, strict=True):
        assert theirs == pytest.approx(ours, rel=1e-4, abs=1e-5)
    one, two = (read_journal(tmp_path / each, VALIDATION) for each in ("one", "two"))
    assert two[-1] == pytest.approx(one[-1], rel=1e-4)
    assert one[-1]["picture_l1"] < one[0]["picture_l1"]
    alone, together = (load_file(tmp_path / each / "model" / WEIGHTS) for each in ("one", "two"))
    for name, weight in alone.items():
        assert torch.allclose(together[name], weight, atol=2e-4), name
