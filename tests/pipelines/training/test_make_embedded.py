"""``make embedded``: which commands it is made of, in which order, how long each gets, and how its processes end."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipelines.backends.quantised import FOLDER, MANIFEST
from pipelines.errors import TrainingError, TrainingStopped
from pipelines.training import make_embedded
from pipelines.training.drawn import canvases
from pipelines.training.launch import launch
from pipelines.training.make_embedded import STAGES, make, processes_of, steps
from pipelines.training.times import Times, read_times, total
from tests.pipelines.training.tiny_together import tiny_together

STEPS = ["prepare", *STAGES, "ship", "subjects", "quantise"]


class World:
    """Stands for what the commands do: each takes ``takes`` minutes and leaves what its step leaves, unless its time is
    up before. ``ended``: exit codes of those that end otherwise."""

    def __init__(self, folder: Path, takes: float = 0.0, ended: Mapping[str, int] | None = None) -> None:
        self.run, self.target = folder / "run", folder / "target"
        self.takes, self.ended = takes, ended or {}
        self.begun: list[tuple[str, ...]] = []
        self.places: list[tuple[int, Mapping[str, str]]] = []
        self.now = 0.0
        self.given: list[float] = []

    def start(
        self, arguments: Sequence[str], *, processes: int = 1, environment: Mapping[str, str] | None = None
    ) -> int:
        self.begun.append(tuple(arguments))
        self.places.append((processes, environment or {}))
        name = arguments[3] if arguments[1] == "realtime" else arguments[2]
        if name in self.ended:
            return self.ended[name]
        left = float(arguments[-1]) if arguments[-2] == "--minutes" else self.takes
        self.given.append(left)
        self.now += 60 * min(left, self.takes)
        if left < self.takes:
            self.takes -= left
            return 130
        self.leave(name)
        return 0

    def leave(self, name: str) -> None:
        if name == "prepare":
            canvases.FOLDER.mkdir(parents=True)
            for file in ("canvases.npy", "subjects.npy", "subjects.json", "sources.json"):
                (canvases.FOLDER / file).touch()
        elif name == "quantise":
            (self.target / FOLDER).mkdir()
            (self.target / FOLDER / MANIFEST).write_text(json.dumps({"least_psnr": 41.0}))
        else:
            (self.run / name / "model").mkdir(parents=True)
            (self.run / name / "model" / "model_index.json").touch()

    def make(self, minutes: float | None = None) -> bool:
        return make(steps(self.run, self.target), self.run, minutes=minutes, processes=2, start=self.start)


def _installed(monkeypatch: pytest.MonkeyPatch, *, there: bool) -> None:
    found = SimpleNamespace(util=SimpleNamespace(find_spec=lambda name: name if there else None))
    monkeypatch.setattr(make_embedded, "importlib", found)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., World]:
    """No pictures are prepared; shipping and the album, which have tests of their own, are noted."""
    monkeypatch.chdir(tmp_path)

    def write_album(folder: Path, file: Path) -> None:
        assert folder == canvases.FOLDER
        file.parent.mkdir(parents=True)
        file.touch()

    def made(**options: object) -> World:
        found = World(tmp_path, **options)  # type: ignore[arg-type]
        shipped: list[Path] = []
        monkeypatch.setattr(make_embedded, "ship", lambda model, target: shipped.append(model))
        monkeypatch.setattr(make_embedded, "write_album", write_album)
        monkeypatch.setattr(make_embedded, "is_shipped", lambda model, target: model in shipped)
        _installed(monkeypatch, there=True)
        monkeypatch.setattr(make_embedded, "time", SimpleNamespace(monotonic=lambda: found.now))
        return found

    return made


def test_every_step_is_done_in_its_order_by_its_command(
    world: Callable[..., World], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(make_embedded.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(make_embedded, "cores", lambda: 4)
    made = world()
    assert made.make()
    assert made.begun == [
        ("-m", "pipelines.training", "prepare"),
        *(("-m", "realtime", "train", each, "--recipe", "embedded", "--out", str(made.run)) for each in STAGES),
        ("-m", "pipelines.training", "quantise", str(made.target)),
    ]
    on_cpus = {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "2"}
    assert made.places[1:-1] == [(2, on_cpus)] * len(STAGES), "two processes, four cores"
    assert [count for count, _ in made.places] == [1, *[2] * len(STAGES), 1]
    assert f"All is done: {', '.join(STEPS)}." in capsys.readouterr().out
    made.begun.clear()
    assert made.make()
    assert not made.begun, "what is done is not done again"


def test_all_steps_share_the_minutes_and_pieces_come_to_the_same(
    world: Callable[..., World], capsys: pytest.CaptureFixture[str]
) -> None:
    made = world(takes=4.0)
    assert not made.make(minutes=10)
    assert made.given == [4.0, 6.0, 2.0], "what is left for each"
    told = capsys.readouterr().out
    assert "Done so far: prepare, teacher; next: decoder." in told
    assert "The same command goes on." in told
    pieces = 1
    while not made.make(minutes=3):
        pieces += 1
        assert pieces < 20
    assert [call[3] for call in made.begun if call[1] == "realtime"][-1] == "controlnet"
    taken = read_times(made.run)
    assert sum(seconds for parts in taken.values() for seconds in parts.values()) == pytest.approx(made.now, abs=1)


def test_a_step_that_fails_ends_it_in_a_sentence(world: Callable[..., World]) -> None:
    made = world(ended={"decoder": 2})
    with pytest.raises(TrainingError, match="step decoder ended with exit code 2"):
        made.make(minutes=10)
    made = world(ended={"unet": 0, "decoder": 0})  # says that it is done, and left nothing
    with pytest.raises(TrainingError, match="step decoder ended with exit code 0"):
        made.make()


def test_what_is_missing_is_said_before_anything_is_begun(
    world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = world()
    monkeypatch.setattr(make_embedded, "importlib", SimpleNamespace(util=SimpleNamespace(find_spec=lambda name: None)))
    with pytest.raises(
        TrainingError, match=r"needs accelerate and nncf: run pip install 'sdxs-live\[train,quantise\]'"
    ):
        made.make()
    assert not made.begun


@pytest.mark.parametrize(("there", "used"), [(1, 1), (2, 2), (3, 2), (64, 4)])
def test_processes_are_as_many_as_cores_and_divide_every_batch(
    there: int, used: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_together(Path("nowhere"))  # its batches are of four
    monkeypatch.setattr(make_embedded, "cores", lambda: there)
    monkeypatch.setattr(make_embedded.torch.cuda, "is_available", lambda: False)
    assert processes_of(recipe) == used
    monkeypatch.setattr(make_embedded.torch.cuda, "is_available", lambda: True)
    assert processes_of(recipe) == 1


def test_time_is_added_up_by_machine_and_part_also_of_what_failed(tmp_path: Path) -> None:
    Times(tmp_path, "a").add("teacher", 10)
    with pytest.raises(KeyError), Times(tmp_path, "a").of("teacher"):
        raise KeyError
    Times(tmp_path, "b").add("unet", 5)
    Times(tmp_path, "b", writes=False).add("unet", 5)
    assert read_times(tmp_path) == {"a": {"teacher": 10.0}, "b": {"unet": 5.0}}
    assert total(tmp_path) == 15.0


def test_processes_are_told_their_places(tmp_path: Path) -> None:
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "WHO")
    script = f"""
import json, os
told = {{name: os.environ.get(name) for name in {names}}}
open({str(tmp_path)!r} + "/" + told["RANK"], "w").write(json.dumps(told))
"""
    assert launch(["-c", script], processes=2, environment={"WHO": "told"}) == 0
    zero, one = (json.loads((tmp_path / str(rank)).read_text()) for rank in range(2))
    assert zero.pop("RANK") == zero.pop("LOCAL_RANK") == "0"
    assert one.pop("RANK") == one.pop("LOCAL_RANK") == "1"
    assert zero == one
    assert int(zero.pop("MASTER_PORT")) > 1024
    assert zero == {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "WHO": "told"}


def test_when_one_process_fails_the_others_do_not_stay() -> None:
    script = "import os, sys, time\nif os.environ['RANK'] == '1': sys.exit(3)\ntime.sleep(600)"
    begun = time.monotonic()
    code = launch(["-c", script], processes=2, patience=0.2)
    assert code in (3, -signal.SIGKILL)
    assert time.monotonic() - begun < 60
    assert launch(["-c", "import sys; sys.exit(3)"]) == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_every_process_once_and_each_may_save(tmp_path: Path, number: signal.Signals) -> None:
    script = f"""
import os, signal, sys, time
place = {str(tmp_path)!r} + "/" + os.environ["RANK"]
def take(*_):
    open(place, "a").write("saved ")
    sys.exit(130)
signal.signal({int(number)}, take)
open(place + ".ready", "w").close()
time.sleep(600)
"""
    before = signal.getsignal(number)

    def ask() -> None:
        deadline = time.monotonic() + 60
        while len(list(tmp_path.glob("*.ready"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    asking = threading.Thread(target=ask)
    asking.start()
    with pytest.raises(TrainingStopped, match="the same command goes on"):
        launch(["-c", script], processes=2)
    asking.join()
    assert [(tmp_path / str(rank)).read_text() for rank in range(2)] == ["saved "] * 2
    assert signal.getsignal(number) is before
