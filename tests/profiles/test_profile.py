"""profile.toml: older files are brought up to date, newer never written, comments survive, faults name lines."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pse_stream.errors import ConfigError
from pse_stream.profiles.document import write_whole
from pse_stream.profiles.profile import Profile, read_profile, rewrite_profile

OLD = """# by hand
engine = "wiener"   # mine
attenuation_db = 9
input = "Yeti"
[keyboard]
clicks = 3
"""


def written(folder: Path, text: str) -> Profile:
    folder.mkdir(exist_ok=True)
    (folder / "profile.toml").write_text(text, encoding="utf-8")
    return read_profile(folder)


def test_a_file_of_before_is_understood_and_becomes_a_present_one_when_it_is_rewritten(tmp_path: Path) -> None:
    profile = written(tmp_path / "eve", OLD)
    assert profile.schema == 0
    assert {name: placed.value for name, placed in profile.settings.items()} == {
        "engine": "wiener",
        "attenuation_db": 9.0,
        "input": "Yeti",
    }
    assert (tmp_path / "eve" / "profile.toml").read_text() == OLD  # reading writes nothing
    fresh = rewrite_profile(profile, {("logging", "keep_days"): 7})
    assert fresh.schema == 1
    assert fresh.settings.keys() == profile.settings.keys()
    table = tomllib.loads((tmp_path / "eve" / "profile.toml").read_text())
    assert table["sound"] == {"engine": "wiener", "attenuation_limit_db": 9}
    assert table["keyboard"] == {"clicks": 3}
    assert table["logging"] == {"keep_days": 7}


def test_a_newer_file_is_read_as_far_as_it_is_known_and_never_written(tmp_path: Path) -> None:
    text = 'schema = 9\n[sound]\nattenuation_limit_db = 3\nsmell = "rose"\n'
    profile = written(tmp_path / "eve", text)
    assert profile.read_only
    assert profile.settings["attenuation_db"].value == 3.0
    with pytest.raises(ConfigError, match="schema 9; this version writes schema 1") as caught:
        rewrite_profile(profile, {("", "name"): "Eve"})
    assert caught.value.name == "newer_profile"
    assert (tmp_path / "eve" / "profile.toml").read_text() == text


def test_comments_order_and_unknown_fields_survive_a_rewrite(tmp_path: Path) -> None:
    text = (
        '# top\nschema = 1\nname = "Eve"   # shown\n\n[later]\nx = [1,\n  2]  # odd\n\n[logging]\nconsent = false # x\n'
    )
    profile = written(tmp_path / "eve", text)
    rewrite_profile(profile, {("logging", "consent"): True})
    assert (tmp_path / "eve" / "profile.toml").read_text() == text.replace("consent = false # x", "consent = true # x")


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ('schema = "1"\n', ":1: schema", "a whole number"),
        ("schema = 1\nname = 3\n", ":2: name", "text in quotes"),
        ("schema = 1\n[logging]\n\nconsent = 'yes'\n", ":4: logging.consent", "true or false"),
        ("schema = 1\n[logging]\nkeep_days = 0\n", ":3: logging.keep_days", "days above 0"),
        ("schema = 1\n[logging]\nmax_gib = true\n", ":3: logging.max_gib", "GiB above 0"),
        ("schema = 1\nlogging = 3\n", ":2: logging", r"a table \[logging\]"),
        ("schema = 1\n[adapted]\nactive = 1\n", ":3: adapted.active", "text in quotes"),
        ("schema = 1\n[sound]\nlevel = 'best'\n", ":3: sound.level", "a whole number from 0"),
    ],
)
def test_a_wrong_value_is_named_with_its_line_and_key(tmp_path: Path, text: str, place: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        written(tmp_path / "eve", text)
    assert f"profile.toml{place} = " in caught.value.text


def test_damaged_toml_names_line_and_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="line 3, column 9\\), key level") as caught:
        written(tmp_path / "eve", "schema = 1\n[sound]\nlevel = = 1\n")
    assert caught.value.name == "bad_toml"


@settings(max_examples=40, deadline=None)
@given(name=st.text(max_size=20), level=st.integers(0, 9), days=st.floats(0.1, 1000.0))
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, name: str, level: int, days: float
) -> None:
    profile = written(tmp_path_factory.mktemp("p") / "eve", "schema = 1\n")
    changes = {("", "name"): name, ("sound", "level"): level, ("logging", "keep_days"): days}
    fresh = rewrite_profile(profile, changes)
    assert (fresh.title, fresh.settings["level"].value, fresh.logging.keep_days) == (name, level, days)
    assert [path.name for path in fresh.folder.iterdir()] == ["profile.toml"]  # nothing half written is left


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError, match="unchanged"):
        write_whole(tmp_path / "folder", b"a folder is in the way")
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert sorted(entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")) == []
