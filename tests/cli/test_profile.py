"""`pse-stream profile`: made, listed, used, taken along and deleted, by the words that a person types."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]  # arguments -> (code, out, err)


@pytest.fixture
def profiles(home: Path) -> Path:
    return home / ".local" / "share" / "pse-stream" / "profiles"


def test_the_example_works_out_of_the_box_and_writes_nothing(cli: Cli, noisy: Path, profiles: Path) -> None:
    assert cli("enhance", noisy, "--profile", "alice", "-o", "out.wav").code == 0
    rows = {row.split()[0]: row.split() for row in cli("config", "show", "--origin", "-p", "alice").out.splitlines()}
    assert rows["sound.attenuation_limit_db"][1:3] == ["24", "profile"]
    assert cli("profile", "list").out.splitlines()[1].split()[:3] == ["alice", "Alice", "example"]
    assert not profiles.exists()


def test_new_show_use_and_back_to_nobody(cli: Cli, home: Path, profiles: Path) -> None:
    config = home / ".config" / "pse-stream" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text("# mine\n[sound]\nlevel = 0\n")
    made = cli("profile", "new", "bob", "--engine", "wiener", "--attenuation-db", "18", "--title", "Bob B.")
    assert made.out == f"{profiles / 'bob' / 'profile.toml'}\n"
    shown = cli("profile", "show", "bob").out
    assert "bob: Bob B., own, schema 1" in shown
    assert "sound.engine = wiener" in shown
    assert cli("profile", "use", "bob").code == 0
    assert config.read_text() == 'profile = "bob"\n# mine\n[sound]\nlevel = 0\n'
    assert json.loads(cli("config", "show", "--json").out)["settings"]["engine"]["value"] == "wiener"
    assert "bob *" in cli("profile", "list").out
    assert cli("profile", "use", "none").code == 0
    assert config.read_text() == "# mine\n[sound]\nlevel = 0\n"


def test_names_that_cannot_be_are_errors_with_what_to_do(cli: Cli, profiles: Path) -> None:
    for words, name in (
        (("profile", "show", "alcie"), "no_profile"),
        (("profile", "use", "alcie"), "no_profile"),
        (("run", "--profile", "alcie"), "no_profile"),
        (("enhance", "x.wav", "-p", "alcie"), "no_profile"),
        (("profile", "new", "Bob"), "bad_profile_name"),
        (("profile", "new", "../bob"), "bad_profile_name"),
        (("profile", "new", "none"), "bad_profile_name"),
        (("profile", "delete", "alice", "-y"), "example_profile"),
        (("profile", "import", "none.psep"), "no_file"),
    ):
        ran = cli(*words)
        assert ran.code == 3, words
        assert f"error[{name}]" in ran.err
        assert "no_profile" not in name or 'Did you mean "alice"?' in ran.err
    cli("profile", "new", "bob")
    assert "error[profile_exists]" in cli("profile", "new", "bob").err
    assert [path.name for path in profiles.iterdir()] == ["bob"]


def test_a_damaged_profile_is_listed_with_its_line_and_can_be_deleted(cli: Cli, profiles: Path) -> None:
    cli("profile", "new", "bob")
    (profiles / "bob" / "profile.toml").write_text("schema = 1\n[sound]\nlevel = = 1\n")
    ran = cli("profile", "list")
    assert ran.code == 0
    assert "cannot be used" in next(row for row in ran.out.splitlines() if row.startswith("bob"))
    assert "line 3, column 9), key level" in ran.err
    assert cli("profile", "show", "bob").code == 3
    assert cli("profile", "delete", "bob", "--yes").code == 0
    assert not (profiles / "bob").exists()


def test_export_import_and_a_name_that_is_taken(cli: Cli, profiles: Path) -> None:
    cli("profile", "new", "bob", "--level", "0")
    exported = cli("profile", "export", "bob")
    assert (exported.code, exported.out) == (0, "bob.psep\n")
    assert "nothing is overwritten" in cli("profile", "export", "bob").err
    taken = cli("profile", "import", "bob.psep")
    assert taken.out == "bob-2\n"
    assert '"bob" is taken here' in taken.err
    assert json.loads(cli("profile", "export", "bob", "-o", "again.psep", "--json").out)["sha256"] in exported.err
    Path("bad.psep").write_bytes(Path("bob.psep").read_bytes()[:2000])
    assert "error[bad_archive]" in cli("profile", "import", "bad.psep").err
    refused = cli("profile", "export", "bob", "--with-audio", "-o", "sound.psep")
    assert (refused.code, "not_asked" in refused.err, "--yes" in refused.err) == (2, True, True)
    assert cli("profile", "export", "bob", "--with-audio", "--yes", "-o", "sound.psep").code == 0


def test_delete_says_what_goes_asks_and_gives_a_receipt(cli: Cli, home: Path, profiles: Path) -> None:
    cli("profile", "new", "bob")
    cli("profile", "use", "bob")
    asked = cli("profile", "delete", "bob")
    assert asked.code == 2
    assert "will go: settings, 1 files" in asked.err
    assert cli("profile", "delete", "bob", "--dry-run").code == 0
    assert (profiles / "bob").exists()
    receipt = json.loads(cli("profile", "delete", "bob", "--yes", "--json").out)
    assert (receipt["name"], receipt["files"], receipt["done"] is not None) == ("bob", 1, True)
    assert list(profiles.iterdir()) == []
    assert "bob" not in (home / ".config" / "pse-stream" / "config.toml").read_text()


def test_json_is_one_object_with_nothing_missing(cli: Cli) -> None:
    cli("profile", "new", "bob")
    found = json.loads(cli("profile", "list", "--json").out)
    assert found["schema"] == 1
    assert {frozenset(row) for row in found["profiles"]} == {frozenset(found["profiles"][0])}
    shown = json.loads(cli("profile", "show", "bob", "--json").out)
    assert (shown["name"], shown["adapted"]["active"], shown["consent"]) == ("bob", None, None)


def test_files_are_not_denoised_with_a_damaged_profile(cli: Cli, profiles: Path, noisy: Path) -> None:
    cli("profile", "new", "bob")
    (profiles / "bob" / "profile.toml").write_text("= =")
    ran = cli("enhance", noisy, "--profile", "bob")
    assert ran.code == 3
    assert "error[bad_toml]" in ran.err
