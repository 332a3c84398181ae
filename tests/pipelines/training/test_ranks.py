"""Two processes that train together hold the same weights and see the mean of both gradients."""

from pathlib import Path

import torch
import torch.multiprocessing as mp
from torch import nn

from pipelines.training import ranks


def _one_process(rank: int, folder: str) -> None:
    rendezvous = f"file://{folder}/rendezvous"
    torch.distributed.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=2)
    used, unused = nn.Parameter(torch.ones(2, 3)), nn.Parameter(torch.ones(4))
    (used * (rank + 1)).sum().backward()
    ranks.average_gradients([used, unused])
    torch.save({"rank": ranks.rank(), "used": used.grad, "unused": unused.grad}, f"{folder}/{rank}.pt")
    ranks.leave()


def test_gradients_are_averaged_over_two_processes(tmp_path: Path) -> None:
    mp.start_processes(_one_process, (str(tmp_path),), nprocs=2, start_method="spawn")
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert found["rank"] == rank
        torch.testing.assert_close(found["used"], torch.full((2, 3), 1.5))
        torch.testing.assert_close(found["unused"], torch.zeros(4))


def test_alone_nothing_changes() -> None:
    parameter = nn.Parameter(torch.ones(3))
    parameter.sum().backward()
    ranks.average_gradients([parameter])
    assert ranks.rank() == 0
    torch.testing.assert_close(parameter.grad, torch.ones(3))
