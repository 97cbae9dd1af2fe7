"""Profiles by name: the person's own before the examples, near names for unknown ones, nothing outside the folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from pse_stream.errors import ConfigError
from pse_stream.profiles.folders import profiles_folder
from pse_stream.profiles.store import open_profile, profile_names


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))


def add(name: str, text: str) -> None:
    folder = profiles_folder() / name
    folder.mkdir(parents=True)
    (folder / "profile.toml").write_text(text, encoding="utf-8")


def test_example_profile_is_there_and_sets_sound_and_devices() -> None:
    assert profile_names() == ["alice"]
    assert open_profile("alice").settings["attenuation_db"].value == 24.0


def test_own_profile_wins_over_an_example_of_its_name() -> None:
    add("alice", "[sound]\nattenuation_limit_db = 6\n")
    add("bob_2", "")
    assert profile_names() == ["alice", "bob_2"]
    assert open_profile("alice").settings["attenuation_db"].value == 6.0
    assert open_profile("bob_2").settings == {}


def test_keys_of_later_versions_are_left_alone_and_wrong_values_are_not() -> None:
    add("bob", '[sound]\nengine = "wiener"\nnew_thing = 1\n[adapted]\nactive = ""\n')
    assert set(open_profile("bob").settings) == {"engine"}
    add("eve", '[sound]\nlevel = "best"\n')
    with pytest.raises(ConfigError, match=r"profile\.toml:2"):
        open_profile("eve")


@pytest.mark.parametrize(("name", "hint"), [("alcie", 'Did you mean "alice"?'), ("zzz", "There are: alice.")])
def test_unknown_profile_names_the_nearest_or_all(name: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_profile(name)
    assert caught.value.name == "no_profile"
    assert hint in caught.value.hint


@pytest.mark.parametrize("name", ["../profiles/alice", "/etc", "", ".", "Alice", "a/b"])
def test_a_name_never_leaves_the_folder(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_profile(name)
    assert caught.value.name == "no_profile"
