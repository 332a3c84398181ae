"""The pieces together paint what the graph paints, for every family."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pipelines import SDXSPipeline, Settings
from pipelines.errors import BackendError
from pipelines.fold import Folded
from pipelines.graph import PaintInputs
from pipelines.split import Ascent, Control, Descent
from tests.pipelines import families, tiny

FAMILIES: dict[str, Callable[[Path], tuple[Any, Path]]] = {
    "sdxs": tiny.save,
    "sdxs 0.9": families.sdxs_0_9,
    "sd2": families.sd2,
    "sdxl": families.sdxl,
}


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def pipe(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SDXSPipeline:
    _, directory = FAMILIES[request.param](tmp_path_factory.mktemp("family"))
    return SDXSPipeline.from_pretrained(directory, backend="eager", device="cpu")


@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 160)])
def test_the_pieces_paint_what_the_graph_paints(pipe: SDXSPipeline, height: int, width: int) -> None:
    folded = Folded(pipe._graph)
    graph, generator = folded.graph, torch.Generator().manual_seed(1)
    ids = pipe._time_ids(height, width) if pipe._is_xl else None
    constants = folded.constants(pipe._encode_prompt.of(Settings(prompt="a")), ids)
    assert constants.temb is not None
    given = {"embeddings": constants.embeddings[None], "temb": constants.temb[None]}
    given["noise"] = torch.randn(1, graph.latent_channels, height // 8, width // 8, generator=generator)
    maps = torch.rand(1, len(graph.controlnets[:1]), 3, height, width, generator=generator)
    scales = torch.full(maps.shape[:2], 0.7)
    with torch.inference_mode():
        expected = graph(PaintInputs(maps=maps, scales=scales, **given), tuple(range(maps.shape[1])))
        features = Descent(graph)(**given)
        for net in graph.controlnets[:1]:
            added = Control(net, graph.step)(maps=maps[:, 0], scales=scales, **given)
            features = tuple(a + b for a, b in zip(features, added, strict=True))
        picture = Ascent(graph)(given["noise"], given["embeddings"], given["temb"], *features)
    assert expected.std() > 0.02
    assert (picture - expected).abs().max() < 1e-5


def test_a_unet_that_does_something_else_on_the_way_is_refused(pipe: SDXSPipeline) -> None:
    graph = Folded(pipe._graph).graph
    graph.unet.encoder_hid_proj = torch.nn.Identity()
    with pytest.raises(BackendError, match=r"can't be split.*--backend eager"):
        Descent(graph)
