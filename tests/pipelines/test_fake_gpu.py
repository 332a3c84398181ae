"""What can be known of the frame path on a GPU without one: the true layouts in half precision, on tensors that have
a place, a type and a shape, but no content. Whatever would look at a content can't run on them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pipelines import layout
from pipelines.backends.base import GPU_BATCHES, FrameInputs
from pipelines.backends.compiled import CompiledBackend
from pipelines.backends.replay import PlainRecorder
from pipelines.decoder import LARGE
from pipelines.fold import Constants
from pipelines.frame_graph import FORMS, Form
from pipelines.graph import PaintGraph
from pipelines.prompt import Embedding
from pipelines.sampler import one_step
from realtime.bench.random_weights import _SCHEDULER, LAYOUTS, TOKENS, Layout

CUDA = torch.device("cuda")
NAMES = [name for name in LAYOUTS if name not in ("embedded", "tiny")]
aten: Any = torch.ops.aten
#: What multiplies matrices: a tensor of another type in it would be an error on a GPU, or a slow way around one.
PRODUCTS = {aten.conv2d, aten.linear, aten.matmul, aten.bmm, aten.mm, aten.addmm, aten.scaled_dot_product_attention}
#: What reads a number back to the host, and so waits for the device.
WAITS = {aten._local_scalar_dense, aten.item, aten.equal, aten.nonzero, aten.is_nonzero}


class Watch(TorchDispatchMode):
    """Fails at the first operation that a GPU would trip over; counts the products of half-precision numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.products: dict[torch.dtype, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        packet = func.overloadpacket
        assert packet not in WAITS, f"{func} waits for the device"
        result = func(*args, **(kwargs or {}))
        tensors = [each for each in tree_leaves((args, kwargs, result)) if isinstance(each, Tensor)]
        for each in tensors:
            assert each.device.type == "cuda", f"{func} has a tensor on {each.device}"
        if packet in PRODUCTS:
            dtypes = {each.dtype for each in tensors}
            assert len(dtypes) == 1, f"{func} mixes {dtypes}"
            (dtype,) = dtypes
            self.products[dtype] = self.products.get(dtype, 0) + 1
        return result


@pytest.fixture
def fake() -> Iterator[None]:
    with FakeTensorMode():
        yield


class Painter:
    """The backend on a model of that layout, with the compiler and the graphs left out: the operations are the same."""

    def __init__(self, chosen: Layout, dtype: torch.dtype) -> None:
        def make(config: Any, dtype: torch.dtype = dtype) -> Any:
            torch.set_default_dtype(dtype)
            try:
                with CUDA:
                    return layout.make(config).eval().requires_grad_(False)
            finally:
                torch.set_default_dtype(torch.float32)

        vae = make(chosen.vae, torch.float32 if chosen.vae.get("force_upcast") else dtype)
        control = [make(chosen.control)] if chosen.control else []
        self.graph = PaintGraph(unet=make(chosen.unet), controlnets=control, vae=vae, step=one_step(_SCHEDULER))
        self.dtype = dtype
        self.backend = CompiledBackend(self.graph, CUDA, compile_=lambda each: each, recorder=PlainRecorder())

    def constants(self) -> Constants:
        def empty(*shape: int) -> Tensor:
            return torch.empty(*shape, device=CUDA, dtype=self.dtype)

        pooled = empty(self.graph.pooled_width) if self.graph.pooled_width else None
        ids = empty(6) if self.graph.pooled_width else None
        return self.backend.constants(Embedding(tokens=empty(TOKENS, self.graph.context_width), pooled=pooled), ids)

    def frames(self, count: int, maps: int, side: int) -> FrameInputs:
        noise = torch.empty(self.graph.latent_channels, side // 8, side // 8, device=CUDA, dtype=self.dtype)
        return FrameInputs(
            maps=torch.empty(count, maps, side, side, dtype=torch.uint8, device=CUDA),
            noise=[noise] * count,
            constants=[self.constants()] * count,
            scales=[(0.5,) * maps] * count,
            inverted=[(True,) * maps] * count,
        )

    def paint(self, frames: FrameInputs, form: Form, side: int) -> Tensor:
        return self.backend.paint(frames, (0,) * frames.maps.shape[1], form, (side, side))


CASES = [
    # Every batch size where it costs little; the others are the same code.
    ("sdxs-512-dreamshaper", torch.float16, (*GPU_BATCHES, 3)),
    *((name, torch.float16, (1, 16)) for name in NAMES if name != "sdxs-512-dreamshaper"),
    *((name, torch.bfloat16, (2,)) for name in NAMES),
    ("xl", torch.float16, (1, 16)),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "dtype", "counts"), CASES, ids=lambda each: str(each))
def test_a_frame_stays_on_the_device_in_its_own_precision(
    fake: None, name: str, dtype: torch.dtype, counts: Sequence[int]
) -> None:
    # The autoencoder of the SDXL family is the one that overflows, and runs in full precision.
    xl = dataclasses.replace(LAYOUTS["sdxs-1024"], vae={**LARGE, "force_upcast": True}, control=None)
    chosen = xl if name == "xl" else LAYOUTS[name]
    painter, side = Painter(chosen, dtype), chosen.side
    for count in counts:
        for form in FORMS:
            for maps in range(len(painter.graph.controlnets) + 1):
                frames = painter.frames(count, maps, side)
                with Watch() as watch:
                    pictures = painter.paint(frames, form, side)
                expected = (count, side, side, 3) if form == "rgb" else (count, side * 3 // 2, side)
                assert (pictures.shape, pictures.dtype, pictures.device.type) == (expected, torch.uint8, "cuda")
                assert watch.products.keys() == ({dtype, torch.float32} if name == "xl" else {dtype})


def test_an_operation_that_waits_is_noticed(fake: None) -> None:
    with pytest.raises(AssertionError, match="waits for the device"), Watch():
        torch.empty(3, device=CUDA).nonzero()
    with pytest.raises(AssertionError, match="has a tensor on cpu"), Watch():
        torch.empty(3, device=CUDA) * torch.empty(())
    with pytest.raises(AssertionError, match="mixes"), Watch():
        torch.nn.functional.linear(torch.empty(3, 3, device=CUDA, dtype=torch.float16), torch.empty(3, 3, device=CUDA))
