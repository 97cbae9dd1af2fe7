"""Who may import whom: the floors of docs/architecture.md, checked on the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import pse_stream

ROOT = Path(pse_stream.__file__).parent

# A floor may import itself and what stands before it.
FLOORS = ("errors", "dsp", "engines", "profiles", "streaming", "control", "cli", "main")
# The workshop stands beside the house: it may use the lower floors, and no floor may use it.
TRAINING_MAY_IMPORT = {"training", "errors", "dsp", "engines", "profiles"}
# A hotkey is answered in < 150 ms: the client's half of the channel loads nothing that computes.
LIGHT = ("control/client.py", "control/ctl.py", "control/commands.py")
HEAVY = {"numpy", "scipy", "onnxruntime", "soxr", "soundfile", "pyaudio", "torch"}
# Libraries that belong to one floor; `None`: nobody.
OWNED = {
    "torch": {"training"},
    "onnxruntime": {"engines", "training"},
    "pyaudio": {"streaming"},
    "zmq": {"control"},
    "textual": {"control", "cli"},
}


def _sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from (path for path in sorted((ROOT / folder).rglob("*.py")) if "__pycache__" not in path.parts)


def _imports(path: Path) -> Iterator[tuple[str, int, bool]]:
    """(dotted module, line, whether it is imported when the file is) for every import of a file."""
    tree = ast.parse(path.read_text(), str(path))
    late = {
        id(inner)
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef)
        or (isinstance(outer, ast.If) and ast.unparse(outer.test) == "TYPE_CHECKING")
        for inner in ast.walk(outer)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno, id(node) not in late
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import; write pse_stream.…"
            assert node.module is not None
            yield node.module, node.lineno, id(node) not in late
            for alias in node.names:  # from pse_stream import dsp
                yield f"{node.module}.{alias.name}", node.lineno, id(node) not in late


def _floor(path: Path) -> str:
    first = path.relative_to(ROOT).parts[0]
    return first.removesuffix(".py")


def _product() -> list[Path]:
    folders = [name for name in FLOORS if (ROOT / name).is_dir()]
    files = [ROOT / f"{name}.py" for name in FLOORS if (ROOT / f"{name}.py").is_file()]
    return [*files, *_sources(*folders)]


def wrong_imports(path: Path, floor: str) -> list[str]:
    """Every import of a file that goes up, or into a library of another floor."""
    allowed = TRAINING_MAY_IMPORT if floor == "training" else set(FLOORS[: FLOORS.index(floor) + 1])
    wrong = []
    for name, line, _ in _imports(path):
        parts = name.split(".")
        if parts[0] == "pse_stream" and len(parts) > 1 and parts[1] not in allowed | {"__version__"}:
            wrong.append(f"{path}:{line}: {floor} imports {name}")
        if floor not in OWNED.get(parts[0], {floor}):
            wrong.append(f"{path}:{line}: {floor} imports {name}, which belongs to {', '.join(OWNED[parts[0]])}")
    return wrong


def reached(start: str) -> dict[str, str]:
    """Modules that importing `start` loads (ours followed, others named): module -> who asked for it."""
    found: dict[str, str] = {}
    todo = [start]
    while todo:
        module = todo.pop()
        path = _path(module)
        if path is None:
            continue
        for name, line, early in _imports(path):
            target = name if _path(name) or not name.startswith("pse_stream") else name.rpartition(".")[0]
            if early and target not in found:
                found[target] = f"{path.relative_to(ROOT)}:{line}"
                todo.append(target)
                # Importing a.b.c runs a/__init__ and a.b/__init__ too.
                todo += [target.rsplit(".", k)[0] for k in range(1, target.count(".") + 1)]
    return found


def _path(module: str) -> Path | None:
    if not module.startswith("pse_stream"):
        return None
    place = ROOT.joinpath(*module.split(".")[1:])
    for path in (place.with_suffix(".py"), place / "__init__.py"):
        if path.is_file():
            return path
    return None


def test_imports_point_down() -> None:
    assert [complaint for path in _product() for complaint in wrong_imports(path, _floor(path))] == []


def test_training_uses_only_the_lower_floors() -> None:
    assert [complaint for path in _sources("training") for complaint in wrong_imports(path, "training")] == []


@pytest.mark.parametrize("file", [file for file in LIGHT if (ROOT / file).is_file()])
def test_the_control_client_loads_nothing_that_computes(file: str) -> None:
    module = "pse_stream." + file.removesuffix(".py").replace("/", ".")
    loads = reached(module)
    heavy = {name: who for name, who in loads.items() if name.split(".")[0] in HEAVY}
    ours = {name: who for name, who in loads.items() if name.split(".")[1:2] in (["dsp"], ["engines"], ["streaming"])}
    assert (heavy, ours) == ({}, {})


def test_every_folder_of_the_house_is_checked() -> None:
    """A new floor has to be put in its place here."""
    beside = {"training", "tests", "benchmarks", "docs", "examples", "scripts", "build", "dist", "out", "runs", ".venv"}
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert folders - beside <= set(FLOORS)


@pytest.mark.parametrize(
    ("source", "floor", "words"),
    [
        (
            "from pse_stream.streaming.pipeline import Pipeline",
            "engines",
            "engines imports pse_stream.streaming.pipeline",
        ),
        ("def f():\n    import pse_stream.control.client", "dsp", "dsp imports pse_stream.control.client"),
        ("from pse_stream import training", "streaming", "streaming imports pse_stream.training"),
        ("import torch", "engines", "belongs to training"),
        ("from pse_stream.control import client", "training", "training imports pse_stream.control"),
    ],
)
def test_an_upward_import_is_caught(tmp_path: Path, source: str, floor: str, words: str) -> None:
    path = tmp_path / "wrong.py"
    path.write_text(source)
    assert any(words in complaint for complaint in wrong_imports(path, floor))
