"""The memory a model needs, told before it is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import psutil
import pytest
import torch
from torch import nn

from pipelines import controlnet, decoder, memory, text_encoder, unet
from pipelines.catalogue import memory_needed
from pipelines.checkpoint import load_checkpoint
from pipelines.errors import MemoryShortage
from pipelines.locate import locate

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


def free_memory(monkeypatch: pytest.MonkeyPatch, *, host: int, gpu: int = 0) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=host))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _=None: (gpu, 2 * gpu))


def modules(checkpoint: object) -> Iterator[nn.Module]:
    for value in vars(checkpoint).values():
        parts = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else [value]
        yield from (part for part in parts if isinstance(part, nn.Module))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_weights_are_counted_as_they_are_loaded(dtype: torch.dtype) -> None:
    """Each network once, though two kinds share the ControlNet."""
    checkpoint = load_checkpoint(locate("embedded"), dtype=dtype)
    parameters = {id(p): p for module in modules(checkpoint) for p in module.parameters()}
    loaded = sum(p.numel() * p.element_size() for p in parameters.values())
    assert memory_needed("embedded", dtype=dtype).weights == loaded


def test_what_the_full_size_model_needs() -> None:
    """Within what was measured: 271 MiB for a forward of U-Net and ControlNet, 280 MiB for the decoder, at 512²."""
    needs = memory.estimate(
        unet.SDXS_512,
        vae=decoder.TINY,
        texts=[text_encoder.CLIP_L],
        controlnets=[controlnet.SDXS_512_SKETCH],
        dtype=torch.float32,
        size=(512, 512),
    )
    assert needs.weights == 4 * (315_746_244 + 186_551_440 + 2_445_063 + 123_060_480)
    assert 280 * 2**20 <= needs.painting <= 560 * 2**20
    assert needs == memory_needed("sdxs-512-dreamshaper", dtype=torch.float32)


def test_openvino_has_the_networks_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured at full size, above the interpreter with its libraries: 2874 MiB eager, 4698 MiB OpenVINO, f32, 512²."""
    parts = {"vae": decoder.TINY, "texts": [text_encoder.CLIP_L], "controlnets": [controlnet.SDXS_512_SKETCH]}
    options = {**parts, "dtype": torch.float32, "size": (512, 512)}
    once = memory.estimate(unet.SDXS_512, **options)
    twice = memory.estimate(unet.SDXS_512, **options, copies=2)
    assert once.total / 2**20 == pytest.approx(2874, rel=0.05)
    assert twice.total / 2**20 == pytest.approx(4698, rel=0.05)
    files = locate("embedded")
    free_memory(monkeypatch, host=245 * 2**20)
    memory.check(files, dtype=torch.float32, device=CPU, size=(256, 256), backend="eager")
    with pytest.raises(MemoryShortage):
        memory.check(files, dtype=torch.float32, device=CPU, size=(256, 256))


@pytest.mark.parametrize(
    ("changes", "larger"),
    [
        ({"size": (1024, 1024)}, True),
        ({"batch": 8}, True),
        ({"vae": decoder.LARGE}, True),
        ({"dtype": torch.float16}, False),
    ],
)
def test_what_makes_it_more_or_less(changes: dict[str, object], larger: bool) -> None:
    plain = {"vae": decoder.TINY, "texts": [], "controlnets": [], "dtype": torch.float32, "size": (512, 512)}
    before = memory.estimate(unet.SDXS_512, **plain)
    after = memory.estimate(unet.SDXS_512, **{**plain, **changes})
    assert (after.painting > before.painting) == larger
    assert (after.total > before.total) == larger


def test_a_shortage_is_one_sentence_with_both_amounts(monkeypatch: pytest.MonkeyPatch) -> None:
    files = locate("embedded")
    free_memory(monkeypatch, host=100 * 2**20)
    with pytest.raises(MemoryShortage) as caught:
        memory.check(files, dtype=torch.float32, device=CPU, size=(4096, 4096))
    sentence = str(caught.value)
    assert "embedded at 4096×4096 needs about" in sentence
    assert "only 100 MiB are free" in sentence
    assert "\n" not in sentence
    free_memory(monkeypatch, host=2**30)
    memory.check(files, dtype=torch.float32, device=CPU, size=(256, 256))


def test_a_gpu_is_looked_at_and_the_host_on_the_way_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    files = locate("embedded")
    options = {"dtype": torch.float16, "device": GPU, "size": (256, 256)}
    free_memory(monkeypatch, host=2**30, gpu=2**30)
    assert memory.check(files, **options) == 16
    free_memory(monkeypatch, host=2**30, gpu=2**20)
    with pytest.raises(MemoryShortage, match="on the GPU cuda:0"):
        memory.check(files, **options)
    free_memory(monkeypatch, host=2**20, gpu=2**30)
    with pytest.raises(MemoryShortage, match="of memory"):
        memory.check(files, **options)


def test_a_small_gpu_takes_fewer_pictures_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"dtype": torch.float16, "device": GPU, "size": (256, 256)}
    found = []
    for free in (150, 300, 2000):
        free_memory(monkeypatch, host=2**30, gpu=free * 2**20)
        found.append(memory.check(locate("embedded"), **options))
    assert found == sorted(found)
    assert found[0] < found[1]
    assert found[-1] == 16
