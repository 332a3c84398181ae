"""The rooms and the directions between them, read with ``ast``: who may import whom, what a room may not do."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("pipelines", "streaming", "realtime")
MAY_NOT_IMPORT = {
    # Tensors, no time.
    "pipelines": {"asyncio", "threading", "socket", "time", "aiohttp", "aiortc", "av", "streaming", "realtime"},
    # Time, no tensors.
    "streaming": {"torch", "torchvision", "diffusers", "transformers", "openvino", "pipelines", "realtime"},
    "realtime": {"diffusers", "transformers", "openvino", "controlnet_aux"},
}
#: Training watches the clock for its checkpoints and asks which thread may take signals; the benchmark runs diffusers
#: as the thing to compare with.
EXCEPT = {"pipelines/training": {"time", "threading"}, "realtime/bench": {"diffusers"}}


def modules(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[int, str, int]]:
    """(line, module, relative level) of every import, also those inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, node.module or "", node.level


@pytest.mark.parametrize("room", ROOMS)
def test_imports_point_one_way(room: str) -> None:
    assert modules(room), f"{room} has no modules: is the test looking in the right place?"
    wrong = []
    for path in modules(room):
        name = path.relative_to(ROOT).as_posix()
        allowed = set().union(*(names for part, names in EXCEPT.items() if name.startswith(part)))
        for line, module, level in imports(path):
            if level == 0 and module.split(".")[0] in MAY_NOT_IMPORT[room] - allowed:
                wrong.append(f"{name}:{line} imports {module}")
    assert not wrong


#: The two commands, which import it when they are called.
TRAINING_COMMANDS = {"realtime/train_command.py", "realtime/eval_command.py"}


def test_inference_never_imports_training() -> None:
    wrong = [
        f"{path.name}:{line}"
        for room in ROOMS
        for path in modules(room)
        if "training" not in path.parts and path.relative_to(ROOT).as_posix() not in TRAINING_COMMANDS
        for line, module, _ in imports(path)
        if module.startswith("pipelines.training")
    ]
    assert not wrong


@pytest.mark.parametrize("command", sorted(TRAINING_COMMANDS))
def test_the_commands_import_training_only_when_called(command: str) -> None:
    tree = ast.parse((ROOT / command).read_text(encoding="utf-8"))
    outside = [node for node in tree.body if not isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.If))]
    assert any(module.startswith("pipelines.training") for _, module, _ in imports(ROOT / command))
    assert "pipelines.training" not in "".join(map(ast.unparse, outside))


def test_cross_package_imports_are_absolute() -> None:
    """A relative import that climbs out of its package would hide a crossing from the test above."""
    wrong = [
        f"{path}:{line}"
        for room in ROOMS
        for path in modules(room)
        for line, _, level in imports(path)
        if level >= len(path.relative_to(ROOT).parts)
    ]
    assert not wrong


def test_the_frame_path_never_sleeps_or_synchronises() -> None:
    """The host waits on one event alone: that of the slot it needs."""
    wrong = []
    for path in modules("realtime"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                call = ast.unparse(node.func)
                if call in {"time.sleep", "torch.cuda.synchronize"} and "bench" not in path.parts:
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno} calls {call}")
    assert not wrong
