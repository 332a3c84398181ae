"""The OpenVINO backend: its pictures are eager's, nothing is copied or computed in vain, other devices."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderTiny
from safetensors.torch import save_file

from pipelines import SDXSPipeline, Settings
from pipelines.backends import openvino, openvino_pieces, processor
from pipelines.backends.openvino import OpenVINOBackend
from pipelines.errors import BackendError
from pipelines.frame_graph import Form
from tests.pipelines import tiny

CANNY = Settings(prompt="ink drawing", seed=3)
RED, BLUE = [200, 40, 40], [40, 60, 200]
CHOICES = {
    "canny": CANNY,
    "sketch": CANNY.replace(control="sketch"),
    "text alone": CANNY.replace(control="none"),
    "both": CANNY.replace(extra_controls={"sketch": 0.4}, conditioning_scale=0.7),
}


@pytest.fixture(scope="module")
def eager() -> SDXSPipeline:
    return SDXSPipeline.from_pretrained("embedded", backend="eager", device="cpu")


@pytest.fixture(scope="module")
def ours() -> SDXSPipeline:
    return SDXSPipeline.from_pretrained("embedded", backend="openvino", device="cpu")


def maps(settings: Settings, side: int = 128, batch: int = 1) -> torch.Tensor:
    noise = torch.rand(batch, len(settings.kinds), side, side, generator=torch.Generator().manual_seed(5))
    return (noise > 0.9).to(torch.uint8) * 255


def backend_of(pipe: SDXSPipeline) -> OpenVINOBackend:
    assert isinstance(pipe._backend, OpenVINOBackend)
    return pipe._backend


@pytest.mark.parametrize("form", ["rgb", "yuv"])
@pytest.mark.parametrize("choice", sorted(CHOICES))
def test_frames_are_eagers(eager: SDXSPipeline, ours: SDXSPipeline, choice: str, form: Form) -> None:
    settings = CHOICES[choice]
    expected = eager.paint_uint8(maps(settings), [settings], form=form)
    picture = ours.paint_uint8(maps(settings), [settings], form=form)
    assert picture.shape == expected.shape
    assert expected.float().std() > 5
    assert (picture.int() - expected.int()).abs().max() <= 1


@pytest.mark.parametrize("choice", sorted(CHOICES))
def test_pictures_are_eagers(eager: SDXSPipeline, ours: SDXSPipeline, choice: str) -> None:
    settings = CHOICES[choice]
    control = maps(settings)[:, :, None].expand(-1, -1, 3, -1, -1) / 255
    assert (ours(control, [settings]) - eager(control, [settings])).abs().max() < 1e-3


def test_the_borders_too(eager: SDXSPipeline, ours: SDXSPipeline) -> None:
    """The decoder's end is merged, which is another thing at the borders."""
    white = torch.full((1, 1, 128, 128), 255, dtype=torch.uint8)
    difference = ours.paint_uint8(white, [CANNY]).int() - eager.paint_uint8(white, [CANNY]).int()
    assert difference.abs().max() <= 1


def test_coloured_maps(eager: SDXSPipeline, ours: SDXSPipeline) -> None:
    control = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(2))
    assert (ours(control, [CANNY]) - eager(control, [CANNY])).abs().max() < 1e-3


@pytest.mark.parametrize("side", [128, 192])
def test_the_camera_s_colours_are_eagers(eager: SDXSPipeline, ours: SDXSPipeline, side: int) -> None:
    settings = CANNY.replace(prompt="oil painting", init_strength=0.8)
    texture = torch.randint(-40, 40, (1, side // 4, side // 4, 3), generator=torch.Generator().manual_seed(6))
    seen = [(torch.tensor(colour) + texture).to(torch.uint8) for colour in (RED, BLUE)]
    painted = [ours.paint_uint8(maps(settings, side), [settings], colours) for colours in seen]
    red, blue = ((picture[..., 0].float() - picture[..., 2].float()).mean() for picture in painted)
    assert red > blue + 30
    for colours, picture in zip(seen, painted, strict=True):
        expected = eager.paint_uint8(maps(settings, side), [settings], colours)
        assert (picture.int() - expected.int()).abs().max() <= 1
    control = maps(settings, side)[:, :, None].expand(-1, -1, 3, -1, -1) / 255
    pictures = [pipe(control, [settings], colours=seen[0]) for pipe in (ours, eager)]
    assert (pictures[0] - pictures[1]).abs().max() < 1e-3


def test_batches_of_several_settings(eager: SDXSPipeline, ours: SDXSPipeline) -> None:
    settings = [CANNY, CANNY.replace(prompt="comic book", seed=9), CANNY.replace(conditioning_scale=0.2)]
    drawn = maps(CANNY, batch=3)
    difference = ours.paint_uint8(drawn, settings).int() - eager.paint_uint8(drawn, settings).int()
    assert difference.abs().max() <= 1


def test_settings_in_turn_are_not_mixed_up(eager: SDXSPipeline, ours: SDXSPipeline) -> None:
    """Constant inputs are set when they change: two sessions taking turns change them at every frame."""
    others = (CANNY, CANNY.replace(prompt="comic book"), CANNY.replace(seed=7), CANNY.replace(conditioning_scale=0.1))
    expected = [eager.paint_uint8(maps(CANNY), [each]).int() for each in others]
    for index in (0, 1, 2, 3, 0, 2, 1, 1, 3, 0):
        picture = ours.paint_uint8(maps(CANNY), [others[index]]).int()
        assert (picture - expected[index]).abs().max() <= 1, index


def test_a_picture_stays_until_the_next_but_one(ours: SDXSPipeline) -> None:
    first = ours.paint_uint8(maps(CANNY), [CANNY])
    kept = first.clone()
    second = ours.paint_uint8(maps(CANNY), [CANNY.replace(prompt="comic book")])
    assert torch.equal(first, kept)
    assert not torch.equal(first, second)
    kept = second.clone()
    ours.paint_uint8(maps(CANNY), [CANNY])
    assert torch.equal(second, kept)


def test_called_pictures_are_the_callers(ours: SDXSPipeline) -> None:
    control = maps(CANNY).expand(-1, 3, -1, -1) / 255
    first = ours(control, [CANNY])
    kept = first.clone()
    for seed in (5, 6):
        ours(control, [CANNY.replace(seed=seed)])
    assert torch.equal(first, kept)


def test_what_no_map_reaches_runs_once_a_prompt_and_seed(ours: SDXSPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    backend, ran = backend_of(ours), []
    descend = backend._descend
    monkeypatch.setattr(backend, "_descend", lambda *given: (ran.append(1), descend(*given))[1])
    fresh = CANNY.replace(prompt="oil painting", seed=41)
    for scale in (1.0, 0.5, 0.0, 1.0):
        ours.paint_uint8(maps(fresh), [fresh.replace(conditioning_scale=scale)])
    assert len(ran) == 1
    ours.paint_uint8(maps(fresh), [fresh.replace(seed=42)])
    assert len(ran) == 2


def test_another_choice_of_controls_converts_nothing(ours: SDXSPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    ours.prepare(CANNY)
    monkeypatch.setattr(openvino_pieces, "converted", lambda *_: pytest.fail("converted again"))
    for settings in (CHOICES["text alone"], CHOICES["both"], CHOICES["sketch"]):
        ours.paint_uint8(maps(settings, side=64), [settings], form="yuv")


@pytest.fixture(scope="module")
def with_lora(tmp_path_factory: pytest.TempPathFactory) -> Any:
    workspace = tmp_path_factory.mktemp("lora")
    _, directory = tiny.save(workspace)
    generator, tensors = torch.Generator().manual_seed(1), {}
    # Self-attention is joined in the folded graph, cross-attention's values become part of the constants, and the last
    # convolution is merged with the step.
    for layer, shape in (
        ("up_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q", (32, 32)),
        ("down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_v", (32, 32)),
        ("conv_out", (4, 16, 3, 3)),
    ):
        tensors[f"unet.{layer}.lora_A.weight"] = torch.randn(2, *shape[1:], generator=generator)
        tensors[f"unet.{layer}.lora_B.weight"] = torch.randn(shape[0], 2, *(1 for _ in shape[2:]), generator=generator)
    save_file(tensors, workspace / "style.safetensors")
    return lambda backend: SDXSPipeline.from_pretrained(
        directory, backend=backend, device="cpu", loras=[f"style={workspace / 'style.safetensors'}"]
    )


def test_a_lora_on_and_off(with_lora: Any) -> None:
    eager, ours = with_lora("eager"), with_lora("openvino")
    plain, styled = Settings(prompt="a", seed=1), Settings(prompt="a", seed=1, lora="style", lora_scale=0.3)
    drawn = maps(plain)
    pictures = {}
    for settings in (plain, styled, styled.replace(lora_scale=0.1), plain, styled):
        picture = ours.paint_uint8(drawn, [settings]).int()
        assert (picture - eager.paint_uint8(drawn, [settings]).int()).abs().max() <= 1
        pictures[settings.lora_scale] = picture.clone()
    assert (pictures[1.0] - pictures[0.3]).abs().max() > 5


def test_a_lora_of_plain_layers_converts_nothing(with_lora: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = with_lora("openvino")
    plain = Settings(prompt="a", seed=1)
    ours.paint_uint8(maps(plain), [plain])
    adapter = ours._lora._adapters["style"]
    monkeypatch.setattr(ours._lora, "_adapters", {"style": {k: v for k, v in adapter.items() if k != "conv_out"}})
    monkeypatch.setattr(openvino_pieces, "converted", lambda *_: pytest.fail("converted again"))
    styled = plain.replace(lora="style", lora_scale=0.3)
    before = ours.paint_uint8(maps(plain), [plain]).clone()
    assert not torch.equal(ours.paint_uint8(maps(plain), [styled]), before)


class OneCore:
    """A stand-in for OpenVINO's Core on a machine with other devices."""

    def __init__(self, *devices: str, capabilities: tuple[str, ...] = ("FP32", "INT8")) -> None:
        self.available_devices = list(devices)
        self._capabilities = capabilities

    def get_property(self, device: str, name: str) -> list[str]:
        assert (device, name) == ("CPU", "OPTIMIZATION_CAPABILITIES")
        return list(self._capabilities)


def test_the_intel_gpu_is_taken_where_there_is_one() -> None:
    target = processor.intel_gpu(OneCore("CPU", "GPU.0", "GPU.1"))
    assert target.device == "GPU"
    assert "INFERENCE_PRECISION_HINT" not in target.hints, "its own is f16"


def test_no_intel_gpu_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino, "_core", lambda: OneCore("CPU"))
    with pytest.raises(BackendError, match=r"no Intel GPU here \(devices: CPU\).*--device cpu"):
        SDXSPipeline.from_pretrained("embedded", device="intel-gpu")


@pytest.mark.parametrize("backend", ["eager", "compiled", "openvino-int8"])
def test_only_openvino_runs_on_an_intel_gpu(backend: str) -> None:
    with pytest.raises(BackendError, match="--backend openvino"):
        SDXSPipeline.from_pretrained("embedded", device="intel-gpu", backend=backend)


def test_models_are_compiled_for_the_device_that_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """All the way but for the device itself: what would go to the GPU is compiled for the CPU."""
    core, asked = openvino._core(), []

    class Redirected(OneCore):
        def __getattr__(self, name: str) -> Any:
            return getattr(core, name)

        def compile_model(self, model: Any, device: str, hints: dict[str, Any]) -> Any:
            asked.append(device)
            return core.compile_model(model, "CPU", hints)

    monkeypatch.setattr(openvino, "_core", lambda: Redirected("CPU", "GPU"))
    pipe = SDXSPipeline.from_pretrained("embedded", device="intel-gpu")
    assert pipe.paint_uint8(maps(CANNY, side=64), [CANNY]).shape == (1, 256, 256, 3)
    assert set(asked) == {"GPU"}


@pytest.mark.parametrize(
    ("flags", "pays"),
    [
        (("sse4_1", "avx2"), False),
        (("avx2", "avx512f"), False),
        (("avx2", "avx_vnni"), True),
        (("avx512f", "avx512_vnni"), True),
        (("amx_int8",), True),
        ((), False),
    ],
)
def test_int8_pays_where_bytes_are_multiplied(flags: tuple[str, ...], pays: bool) -> None:
    assert processor.multiplies_bytes(flags) is pays


@pytest.mark.parametrize(("cores", "painting"), [(1, 1), (2, 2), (3, 2), (16, 15)])
def test_many_cores_leave_one_for_the_rest(cores: int, painting: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SDXS_THREADS", raising=False)
    assert processor.threads(cores) == painting
    monkeypatch.setenv("SDXS_THREADS", "5")
    assert processor.threads(cores) == 5


def test_bf16_is_taken_for_the_rest_of_int8_only() -> None:
    with_half = OneCore("CPU", capabilities=("BF16", "FP32", "INT8"))
    assert processor.cpu(with_half, quantised=True).hints["INFERENCE_PRECISION_HINT"] == "bf16"
    assert processor.cpu(with_half, quantised=False).hints["INFERENCE_PRECISION_HINT"] == "f32"
    assert processor.cpu(OneCore("CPU"), quantised=True).hints["INFERENCE_PRECISION_HINT"] == "f32"


def test_only_a_decoder_that_ends_so_is_shortened(saved: tuple[Any, Path], tmp_path: Path) -> None:
    """The tiny model's last stage has a block between the two convolutions; here is one without."""
    without = Path(shutil.copytree(saved[1], tmp_path / "without"))
    tiny_vae = AutoencoderTiny.load_config(without / "vae")
    torch.manual_seed(3)
    AutoencoderTiny.from_config({**tiny_vae, "num_decoder_blocks": [1, 1, 1, 0]}).save_pretrained(without / "vae")
    for directory, shortened in ((saved[1], False), (without, True)):
        pipe = SDXSPipeline.from_pretrained(directory, backend="openvino", device="cpu")
        names = {type(each).__name__ for each in backend_of(pipe).folded.graph.modules()}
        assert ("DoublingEnd" in names) == shortened
