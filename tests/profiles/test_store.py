"""Profiles by name: the person's own before the examples, near names for unknown ones, nothing outside the folder."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pse_stream.errors import ConfigError
from pse_stream.profiles.folders import profiles_folder
from pse_stream.profiles.store import is_example, new_profile, open_profile, own_profile, profile_names


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


def test_a_new_profile_has_what_was_given_and_inherits_the_rest() -> None:
    made = new_profile("bob", title='B "the" Ö', settings={"level": 0, "engine": None})
    assert made.title == 'B "the" Ö'
    assert set(made.settings) == {"level"}
    assert made.folder.stat().st_mode & 0o077 == 0  # nobody else's business
    with pytest.raises(ConfigError) as caught:
        new_profile("bob")
    assert caught.value.name == "profile_exists"


@settings(max_examples=60, deadline=None)
@given(name=st.text(max_size=40) | st.from_regex(r"[a-z0-9_./\\-]{1,40}", fullmatch=True))
def test_no_name_makes_anything_outside_the_folder_of_profiles(name: str) -> None:
    with tempfile.TemporaryDirectory() as home, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", home)
        try:
            made = new_profile(name)
        except ConfigError as error:
            assert error.name == "bad_profile_name"
        else:
            assert made.folder.parent == profiles_folder()
            assert open_profile(name).id == name
        inside = [path for path in profiles_folder().iterdir()] if profiles_folder().is_dir() else []
        assert all(re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,31}", path.name) for path in inside)
        assert [path.name for path in Path(home).iterdir()] in ([], ["pse-stream"])


def test_an_example_is_copied_before_something_is_kept_in_it() -> None:
    assert is_example(open_profile("alice"))
    mine = own_profile("alice")
    assert mine.folder.parent == profiles_folder()
    assert mine.settings["attenuation_db"].value == 24.0
    assert own_profile("alice").folder == mine.folder
    assert [path.name for path in profiles_folder().iterdir()] == ["alice"]  # no draft is left


def test_a_folder_that_cannot_be_written_is_said() -> None:
    profiles_folder().parent.mkdir(parents=True)
    profiles_folder().write_text("a file is in the way")
    with pytest.raises(ConfigError) as caught:
        new_profile("bob")
    assert caught.value.name == "unwritable"
