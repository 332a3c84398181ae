"""The teacher's samples on disk: made once, resumed after an interruption, never mixed with another teacher's."""

import dataclasses
import multiprocessing
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pipelines.errors import TrainingError
from pipelines.training.data import samples as kept
from pipelines.training.data.samples import Samples, SamplesPlan, ensure_samples, noise_of
from pipelines.training.model import Model
from pipelines.training.run import Run
from pipelines.training.sampling import sample
from tests.pipelines.training import tiny_teacher

CPU = torch.device("cpu")
PLAN = SamplesPlan(count=7, held_out=3, steps=2, guidance=2.0, batch=2)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model.load(tiny_teacher.save(tmp_path_factory.mktemp("teacher")))


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "PER_SHARD", 3)


def run_of(folder: Path, plan: SamplesPlan = PLAN, data: str = "shapes") -> Run:
    recipe: Any = SimpleNamespace(name="tiny", size=(64, 64), data=data, samples=plan)
    return Run(folder=folder, recipe=recipe)


def everything(parts: tuple[Samples, Samples]) -> list[dict[str, Any]]:
    return [part[index] for part in parts for index in range(len(part))]


def assert_same(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> None:
    assert len(one) == len(other)
    for left, right in zip(one, other, strict=True):
        assert left["prompt"] == right["prompt"]
        for name in ("noise", "latents", "picture"):
            torch.testing.assert_close(left[name], right[name], rtol=0, atol=1e-5)


def test_a_sample_is_what_the_teacher_makes_of_its_noise_and_prompt(tmp_path: Path, teacher: Model) -> None:
    train, held_out = ensure_samples(run_of(tmp_path), teacher, device=CPU)
    assert (len(train), len(held_out)) == (7, 3)
    for part, index in ((train, 4), (held_out, 1)):
        found = part[index]
        assert found["noise"].shape == found["latents"].shape == (4, 8, 8)
        again = sample(teacher, found["noise"][None], [found["prompt"]], steps=2, guidance=2.0)
        torch.testing.assert_close(found["latents"][None], again, rtol=1e-4, atol=1e-4)
        decoded = teacher.decode(again)[0].clamp(-1, 1)
        torch.testing.assert_close(found["picture"], decoded, rtol=0, atol=0.006)  # eight bits
        assert part.picture(index).shape == (64, 64, 3)
    noises = [each["noise"] for each in everything((train, held_out))]
    assert len({noise.numpy().tobytes() for noise in noises}) == 10
    assert not set(train.prompts) & {""}
    with pytest.raises(IndexError):
        train[7]


def _die_in_the_second_shard(folder: Path, teacher: Model) -> None:
    kept.PER_SHARD = 3
    real, calls = kept.sample, []

    def deadly(*args: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **options)

    kept.sample = deadly  # type: ignore[assignment]
    ensure_samples(run_of(folder), teacher, device=CPU)


@pytest.mark.filterwarnings("ignore:This process")  # Python's word on forking beside torch's idle threads
def test_killed_and_resumed_equals_made_at_once(
    tmp_path: Path, teacher: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = multiprocessing.get_context("fork").Process(
        target=_die_in_the_second_shard, args=(tmp_path / "killed", teacher)
    )
    process.start()
    process.join(60)
    assert process.exitcode == -9
    left = sorted(path.name for path in (tmp_path / "killed" / "samples" / "train").iterdir())
    assert left == ["shard-00000.safetensors"]
    first = (tmp_path / "killed" / "samples" / "train" / left[0]).stat().st_mtime_ns
    resumed = everything(ensure_samples(run_of(tmp_path / "killed"), teacher, device=CPU))
    assert (tmp_path / "killed" / "samples" / "train" / left[0]).stat().st_mtime_ns == first
    assert_same(resumed, everything(ensure_samples(run_of(tmp_path / "whole"), teacher, device=CPU)))

    def never(*args: Any, **options: Any) -> Any:
        raise AssertionError("nothing is missing")

    monkeypatch.setattr(kept, "sample", never)
    assert_same(resumed, everything(ensure_samples(run_of(tmp_path / "whole"), teacher, device=CPU)))


def test_more_may_be_asked_for_later(tmp_path: Path, teacher: Model) -> None:
    before = everything(ensure_samples(run_of(tmp_path), teacher, device=CPU))
    more = dataclasses.replace(PLAN, count=10, batch=3)
    train, held_out = ensure_samples(run_of(tmp_path, more), teacher, device=CPU)
    assert_same(before, [*(train[index] for index in range(7)), *(held_out[index] for index in range(3))])
    assert train[9]["latents"].isfinite().all()


def test_samples_of_another_plan_teacher_or_data_are_refused(tmp_path: Path, teacher: Model) -> None:
    ensure_samples(run_of(tmp_path), teacher, device=CPU)
    with pytest.raises(TrainingError, match=r"made with steps 2, but now it is 3: delete"):
        ensure_samples(run_of(tmp_path, dataclasses.replace(PLAN, steps=3)), teacher, device=CPU)
    with pytest.raises(TrainingError, match="made with guidance"):
        ensure_samples(run_of(tmp_path, dataclasses.replace(PLAN, guidance=1.0)), teacher, device=CPU)
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("one\ntwo\nthree\n")
    with pytest.raises(TrainingError, match="made with prompts"):
        ensure_samples(run_of(tmp_path, data=str(prompts)), teacher, device=CPU)
    parameter = next(teacher.unet.parameters())
    with torch.no_grad():
        parameter.add_(0.01)
    try:
        with pytest.raises(TrainingError, match="made with teacher"):
            ensure_samples(run_of(tmp_path), teacher, device=CPU)
    finally:
        with torch.no_grad():
            parameter.sub_(0.01)


def test_two_processes_divide_what_is_missing(tmp_path: Path, teacher: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def state(index: int) -> Any:
        return SimpleNamespace(
            process_index=index, num_processes=2, is_main_process=index == 0, wait_for_everyone=lambda: None
        )

    monkeypatch.setattr(kept, "PartialState", lambda: state(1))
    ensure_samples(run_of(tmp_path / "two"), teacher, device=CPU)
    made = sorted(path.parent.name + path.name[-14:-12] for path in (tmp_path / "two").rglob("shard-*"))
    assert made == ["held-out00", "train01"]
    assert not (tmp_path / "two" / "samples" / "manifest.json").exists()  # the first process's to write
    monkeypatch.setattr(kept, "PartialState", lambda: state(0))
    ensure_samples(run_of(tmp_path / "two"), teacher, device=CPU)
    monkeypatch.undo()
    monkeypatch.setattr(kept, "PER_SHARD", 3)
    whole = everything(ensure_samples(run_of(tmp_path / "one"), teacher, device=CPU))
    monkeypatch.setattr(kept, "_make", None)  # nothing is missing
    assert_same(everything(ensure_samples(run_of(tmp_path / "two"), teacher, device=CPU)), whole)


def test_prompts_alone_are_enough(tmp_path: Path, teacher: Model) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("one\ntwo\nthree\n")
    train, held_out = ensure_samples(run_of(tmp_path, data=str(prompts)), teacher, device=CPU)
    assert set(train.prompts) == {"one", "two"}
    assert set(held_out.prompts) == {"three"}
    assert train[0]["picture"].shape == (3, 64, 64)


def test_half_precision_stays_near_and_broken_weights_are_told(tmp_path: Path, teacher: Model) -> None:
    half = dataclasses.replace(PLAN, precision="bf16", count=2, held_out=1)
    full = dataclasses.replace(half, precision="fp32")
    train, _ = ensure_samples(run_of(tmp_path / "half", half), teacher, device=CPU)
    assert train[0]["latents"].dtype == torch.float32
    exact, _ = ensure_samples(run_of(tmp_path / "exact", full), teacher, device=CPU)
    error = (train[0]["latents"] - exact[0]["latents"]).abs().mean()
    assert 0 < error < 0.05 * exact[0]["latents"].abs().mean()
    broken = dataclasses.replace(teacher, unet=_NoNumbers())
    with pytest.raises(TrainingError, match="gave no numbers"):
        ensure_samples(run_of(tmp_path / "broken"), broken, device=CPU)


def test_the_noise_is_of_its_seed_alone() -> None:
    torch.testing.assert_close(noise_of(5, (4, 8, 8)), noise_of(5, (4, 8, 8)))
    assert not torch.equal(noise_of(5, (4, 8, 8)), noise_of((1 << 31) + 5, (4, 8, 8)))


class _NoNumbers(torch.nn.Module):
    config = SimpleNamespace(in_channels=4)

    def forward(self, noisy: torch.Tensor, *args: Any, **options: Any) -> tuple[torch.Tensor]:
        return (noisy * float("nan"),)
