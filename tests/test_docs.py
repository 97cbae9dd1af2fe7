"""The documents keep their word: cited tests exist, links lead somewhere, commands and codes are the program's own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import pse_stream
from pse_stream import errors
from pse_stream.cli.root import COMMANDS

ROOT = Path(pse_stream.__file__).parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.md")])
SYMPTOMS = [f"S{number:02d}" for number in range(1, 52)]


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_inside_the_project_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://", "#", "mailto:")):
            assert (page.parent / target.partition("#")[0]).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_tests_that_a_page_cites_exist(page: Path) -> None:
    for file, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page.read_text(encoding="utf-8")):
        source = ROOT / file
        assert source.is_file(), file
        assert re.search(rf"^\s*(?:async )?def {name}\(", source.read_text(encoding="utf-8"), re.MULTILINE), name


def test_every_symptom_has_its_row_with_a_test_or_the_reason_why_there_is_none() -> None:
    rows = dict(re.findall(r"^\| (S\d\d) \|(.*)\|$", text_of("docs/troubleshooting.md"), re.MULTILINE))
    assert list(rows) == SYMPTOMS
    for symptom, row in rows.items():
        covered = row.split("|")[-1].strip()
        assert "`tests/" in covered or covered.startswith(("no test: ", "not built: ")), f"{symptom}: {covered}"


def test_every_command_is_documented() -> None:
    documented = set(re.findall(r"^\| .*?`pse-stream (\w+)", text_of("docs/cli.md"), re.MULTILINE))
    assert set(COMMANDS) <= documented


def test_every_exit_code_of_an_error_is_documented() -> None:
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", text_of("docs/cli.md"), re.MULTILINE)}
    classes = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.PseError)]
    assert {kind.exit_code for kind in classes} <= documented


def test_readme_names_the_two_commands_and_the_first_is_what_ci_runs() -> None:
    readme, ci = text_of("README.md"), (ROOT / ".ci" / "run").read_text()
    assert "make run" in readme
    assert "make test" in readme
    assert ci.rstrip().endswith("make test")
