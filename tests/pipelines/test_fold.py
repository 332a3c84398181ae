"""The folded graph paints what the graph as it is paints, for every family."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pipelines import SDXSPipeline, Settings
from pipelines.backends.base import stack_rows
from pipelines.backends.eager import EagerBackend
from pipelines.errors import BackendError
from pipelines.fold import Folded
from pipelines.graph import PaintGraph, PaintInputs
from pipelines.presets import find_model
from tests.pipelines import families, tiny

FAMILIES: dict[str, Callable[[Path], tuple[Any, Path]]] = {
    "sdxs": tiny.save,
    "sdxs 0.9": families.sdxs_0_9,
    "sd2": families.sd2,
    "sdxl": families.sdxl,
    # It adds its text to the time embedding.
    "embedded": lambda _: (None, find_model("embedded")),
}
SETTINGS = (Settings(prompt="a cat", seed=4), Settings(prompt="b, dog", seed=5))


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def pipe(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SDXSPipeline:
    _, directory = FAMILIES[request.param](tmp_path_factory.mktemp("family"))
    return SDXSPipeline.from_pretrained(directory, backend="eager", device="cpu")


def graph_of(pipe: SDXSPipeline) -> PaintGraph:
    backend = pipe._backend
    assert isinstance(backend, EagerBackend)
    return backend._graph


def rows(pipe: SDXSPipeline, constants: Callable[..., Any]) -> dict[str, torch.Tensor]:
    ids = pipe._time_ids(96, 128) if pipe._is_xl else None
    return stack_rows([constants(pipe._encode_prompt.of(each), ids) for each in SETTINGS])


def inputs(pipe: SDXSPipeline, graph: PaintGraph, rows: dict[str, torch.Tensor]) -> PaintInputs:
    maps = min(1, len(graph.controlnets))
    generator = torch.Generator().manual_seed(1)
    return PaintInputs(
        noise=torch.randn(2, graph.latent_channels, 12, 16, generator=generator),
        maps=torch.rand(2, maps, 3, 96, 128, generator=generator),
        scales=torch.tensor([[0.6], [1.3]])[:, :maps],
        **rows,
    )


def paint(pipe: SDXSPipeline, graph: PaintGraph, rows: dict[str, torch.Tensor]) -> torch.Tensor:
    given = inputs(pipe, graph, rows)
    with torch.inference_mode():
        picture: torch.Tensor = graph(given, tuple(range(given.maps.shape[1])))
    return picture


def test_folded_paints_the_same(pipe: SDXSPipeline) -> None:
    graph = graph_of(pipe)
    folded = Folded(graph)
    expected = paint(pipe, graph, rows(pipe, pipe._backend.constants))
    picture = paint(pipe, folded.graph, rows(pipe, folded.constants))
    assert expected.std() > 0.05
    assert (picture - expected).abs().max() < 1e-5
    assert (expected[0] - expected[1]).abs().max() > 0.05, "two prompts and noises are two pictures"


def test_the_original_is_left_as_it_was(pipe: SDXSPipeline) -> None:
    graph = graph_of(pipe)
    given = rows(pipe, pipe._backend.constants)
    before = paint(pipe, graph, given)
    Folded(graph)
    assert torch.equal(paint(pipe, graph, given), before)


def test_weights_are_shared_but_for_the_joined_ones(pipe: SDXSPipeline) -> None:
    graph = graph_of(pipe)
    original = {id(each) for each in graph.parameters()}
    new = [name for name, each in Folded(graph).graph.named_parameters() if id(each) not in original]
    assert all(".to_qkv." in name for name in new)


def test_weights_changed_in_place_are_taken_over(pipe: SDXSPipeline) -> None:
    graph = graph_of(pipe)
    folded = Folded(graph)
    joined = [each for each in folded.graph.modules() if hasattr(each, "to_qkv")]
    storage = [each.to_qkv.weight.data_ptr() for each in joined]
    layers = [each for each in graph.unet.modules() if isinstance(each, nn.Linear)]
    before = [layer.weight.clone() for layer in layers]
    with torch.inference_mode():
        for layer in layers:
            layer.weight.mul_(1.1)
    try:
        folded.refresh()
        expected = paint(pipe, graph, rows(pipe, pipe._backend.constants))
        picture = paint(pipe, folded.graph, rows(pipe, folded.constants))
    finally:
        with torch.inference_mode():
            for layer, weight in zip(layers, before, strict=True):
                layer.weight.copy_(weight)
    assert (picture - expected).abs().max() < 1e-5
    assert storage == [each.to_qkv.weight.data_ptr() for each in joined], "a captured graph reads these very tensors"


def test_a_network_that_adds_something_else_is_refused(pipe: SDXSPipeline) -> None:
    graph = graph_of(pipe)
    added = graph.unet.config.addition_embed_type
    graph.unet.register_to_config(addition_embed_type="image")
    try:
        folded = Folded(graph)
        with pytest.raises(BackendError, match=r"image.*--backend eager"):
            rows(pipe, folded.constants)
    finally:
        graph.unet.register_to_config(addition_embed_type=added)


def test_nothing_of_the_time_is_computed_in_a_frame(pipe: SDXSPipeline) -> None:
    """The count of matrix products is what is left: no time embedding, no key or value of a text."""
    graph = graph_of(pipe)
    folded = Folded(graph)
    linear = [name for name, each in folded.graph.named_modules() if isinstance(each, nn.Linear)]
    called: list[str] = []
    handles = [
        each.register_forward_hook(lambda *_, name=name: called.append(name))
        for name, each in folded.graph.named_modules()
        if isinstance(each, nn.Linear)
    ]
    given = rows(pipe, folded.constants)
    called.clear()
    paint(pipe, folded.graph, given)
    for handle in handles:
        handle.remove()
    assert linear
    assert called
    assert not [name for name in called if "time" in name or "attn2.to_k" in name or "attn2.to_v" in name]
