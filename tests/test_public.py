"""What the house shows: every file says what it is for, and what a file names as public is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import pse_stream

ROOT = Path(pse_stream.__file__).parent
FOLDERS = ("dsp", "engines", "profiles", "streaming", "control", "cli", "training")
FILES = sorted(
    path.relative_to(ROOT)
    for folder in FOLDERS
    for path in (ROOT / folder).rglob("*.py")
    if not {"__pycache__", "packages"} & set(path.parts)
)
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "stuff"}  # a file is named by its concept
MAX_LINES = 450  # 300 is where to look for a second concept; past this there is one


def _tree(file: Path) -> ast.Module:
    return ast.parse((ROOT / file).read_text())


@pytest.mark.parametrize("file", FILES, ids=str)
def test_a_file_says_what_it_is_for(file: Path) -> None:
    text = ast.get_docstring(_tree(file))
    assert text, "no docstring"
    assert text.split("\n\n")[0].rstrip().endswith((".", ":", "?")), "it does not begin with a sentence"


@pytest.mark.parametrize("file", FILES, ids=str)
def test_public_names_are_there(file: Path) -> None:
    tree = _tree(file)
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names = ast.literal_eval(node.value)
            defined = {n.name for n in tree.body if isinstance(n, ast.ClassDef | ast.FunctionDef)}
            defined |= {a.asname or a.name for n in tree.body if isinstance(n, ast.ImportFrom) for a in n.names}
            defined |= {ast.unparse(t) for n in tree.body if isinstance(n, ast.Assign) for t in n.targets}
            defined |= {ast.unparse(n.target) for n in tree.body if isinstance(n, ast.AnnAssign)}
            assert set(names) <= defined
            assert len(set(names)) == len(names)


@pytest.mark.parametrize("file", FILES, ids=str)
def test_what_is_public_is_explained(file: Path) -> None:
    silent = [
        node.name
        for node in _tree(file).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert silent == []


def test_files_are_named_by_their_concept_and_hold_one() -> None:
    assert [file for file in FILES if file.stem in VAGUE] == []
    lengths = {file: len((ROOT / file).read_text().splitlines()) for file in FILES}
    assert {file: n for file, n in lengths.items() if n > MAX_LINES} == {}


def test_every_error_name_of_the_engines_is_in_their_docs() -> None:
    source = "".join((ROOT / file).read_text() for file in FILES if file.parts[0] == "engines")
    names = set(re.findall(r'name="((?:unknown_)?engine\w*)"', source))
    assert len(names) >= 8
    documented = set(re.findall(r"^\| `([a-z_]+)` \|", (ROOT / "docs/engines.md").read_text(), re.MULTILINE))
    assert names == documented
