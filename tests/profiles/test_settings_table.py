"""Settings in TOML: every key, every wrong value by its line, the nearest key for a misspelt one."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pse_stream.errors import ConfigError
from pse_stream.profiles.settings_table import KEYS, line_of, parsed, read_settings

WHOLE = """# a comment
profile = "alice"

[sound]
engine = "wiener"
level = 2
attenuation_limit_db = 18     # whole numbers are decibels too

[devices]
input = "USB"
output = "auto"
channels = "left"

[governor]
mode = "eco"
[gate]
mode = "off"
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_key_is_read_with_its_line(tmp_path: Path) -> None:
    found = read_settings(path := written(tmp_path, WHOLE))
    assert {name: placed.value for name, placed in found.items()} == {
        "profile": "alice",
        "engine": "wiener",
        "level": 2,
        "attenuation_db": 18.0,
        "input": "USB",
        "output": "auto",
        "channels": "left",
        "governor": "eco",
        "gate": "off",
    }
    assert found["profile"].place == f"{path}:2"
    assert found["attenuation_db"].place == f"{path}:7"
    assert found["governor"].place == f"{path}:15"
    assert found["gate"].place == f"{path}:17"
    assert {key.setting for key in KEYS} == set(found)


@pytest.mark.parametrize(
    ("text", "line", "expects"),
    [
        ("[sound]\nlevel = 1.5", 2, "a whole number from 0"),
        ("[sound]\nlevel = -1", 2, "a whole number from 0"),
        ("[sound]\nlevel = true", 2, "a whole number from 0"),
        ("[sound]\n\nattenuation_limit_db = 101", 3, "decibels from 0"),
        ("[sound]\nattenuation_limit_db = nan", 2, "decibels from 0"),
        ("[sound]\nattenuation_limit_db = '18'", 2, "decibels from 0"),
        ("[sound]\nengine = ''", 2, "the id of an engine"),
        ("[devices]\nchannels = 'both'", 2, "auto, left, right or mix"),
        ("governor.mode = 'fast'", 1, "off, auto, eco or quality"),
        ("sound = {engine = 3}", 1, "the id of an engine"),
    ],
)
def test_wrong_value_names_file_line_and_what_was_expected(tmp_path: Path, text: str, line: int, expects: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read_settings(path)
    assert caught.value.name == "bad_value"
    assert caught.value.text.startswith(f"{path}:{line}: ")
    assert expects in caught.value.text


@pytest.mark.parametrize(
    ("text", "line", "nearest"),
    [
        ("[sound]\nengin = 'x'", 2, "sound.engine"),
        ("[sound]\n\natenuation_limit_db = 3", 3, "sound.attenuation_limit_db"),
        ("engine = 'x'", 1, "sound.engine"),
        ("[device]\ninput = 'x'", 1, "devices.input"),
    ],
)
def test_unknown_key_names_its_line_and_the_nearest_known_one(
    tmp_path: Path, text: str, line: int, nearest: str
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read_settings(path)
    assert caught.value.name == "unknown_key"
    assert caught.value.text.startswith(f"{path}:{line}: unknown key ")
    assert nearest in caught.value.hint
    assert read_settings(path, ignore_unknown=True) == {}


def test_what_is_no_toml_no_text_or_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="line 2"):
        read_settings(written(tmp_path, "[sound]\nengine = =\n"))
    (tmp_path / "config.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_settings(tmp_path / "config.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_settings(tmp_path / "none.toml")
    (tmp_path / "config.toml").write_bytes(b"#" * (1 << 20) + b"\n")
    with pytest.raises(ConfigError, match="bytes"):
        read_settings(tmp_path / "config.toml")


@settings(max_examples=50, deadline=None)
@given(before=st.lists(st.sampled_from(["", "# engine = 1", "[devices]", "input = 'engine'"]), max_size=6))
def test_line_of_finds_the_key_whatever_stands_before(before: list[str]) -> None:
    text = "\n".join([*before, "[sound]", "engine = 'x'"])
    assert line_of(text, "sound", "engine") == len(before) + 2


def test_words_from_flags_and_variables_are_checked_alike() -> None:
    by_name = {key.setting: key for key in KEYS}
    assert parsed(by_name["level"], "auto", "--level") == "auto"
    assert parsed(by_name["level"], "3", "--level") == 3
    assert parsed(by_name["attenuation_db"], "7.5", "--attenuation-db") == 7.5
    for name, word in (("level", "3.5"), ("attenuation_db", "loud"), ("channels", "2")):
        with pytest.raises(ConfigError, match="--flag"):
            parsed(by_name[name], word, "--flag")
