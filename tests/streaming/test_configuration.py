"""Precedence: flag > environment > profile > configuration file > default, and everybody's origin."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pse_stream.errors import ConfigError
from pse_stream.streaming.configuration import config_files, resolve
from pse_stream.streaming.settings import SETTING_NAMES, Settings


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, folder in {"XDG_CONFIG_HOME": "config", "XDG_CONFIG_DIRS": "etc", "XDG_DATA_HOME": "data"}.items():
        monkeypatch.setenv(name, str(tmp_path / folder))
    return tmp_path


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


LAYERS = ("system", "config", "profile", "environment", "flag")  # weakest first
ORIGINS = ("config", "config", "profile", "environment", "flag")


@settings(max_examples=32, deadline=None)
@given(present=st.sets(st.sampled_from(range(len(LAYERS)))))
def test_the_strongest_layer_that_says_something_wins(
    tmp_path_factory: pytest.TempPathFactory, present: set[int]
) -> None:
    tmp_path = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name, folder in {"XDG_CONFIG_HOME": "config", "XDG_CONFIG_DIRS": "etc", "XDG_DATA_HOME": "data"}.items():
            patch.setenv(name, str(tmp_path / folder))

        def sound(layer: int) -> str:
            return f"[sound]\nattenuation_limit_db = {layer}\n" if layer in present else ""

        put(tmp_path / "etc/pse-stream/config.toml", sound(0))
        put(tmp_path / "config/pse-stream/config.toml", sound(1))
        put(tmp_path / "data/pse-stream/profiles/bob/profile.toml", sound(2))
        environ = {"PSE_STREAM_ATTENUATION_DB": "3"} if 3 in present else {}
        flags = {"profile": "bob", "attenuation_db": 4.0 if 4 in present else None}
        resolved = resolve(flags, environ=environ)
    if present:
        assert resolved.settings.attenuation_db == max(present)
        assert resolved.origins["attenuation_db"] == ORIGINS[max(present)]
    else:
        assert resolved.settings.attenuation_db == Settings().attenuation_db
        assert resolved.origins["attenuation_db"] == "default"


def test_without_anything_the_defaults_hold() -> None:
    resolved = resolve({}, environ={})
    assert resolved.settings == Settings()
    assert set(resolved.origins.values()) == {"default"}


def test_places_say_where_to_look(home: Path) -> None:
    path = put(home / "config/pse-stream/config.toml", "\n[sound]\nlevel = 0\n")
    resolved = resolve({"engine": "bypass"}, environ={"PSE_STREAM_INPUT": "USB"})
    assert resolved.places["level"] == f"{path}:3"
    assert resolved.places["input"] == "PSE_STREAM_INPUT"
    assert resolved.places["engine"] == "--engine"


def test_a_level_that_somebody_chose_is_pinned_and_auto_is_not() -> None:
    assert resolve({"level": 0}, environ={}).settings.level_pinned
    automatic = resolve({"level": "auto"}, environ={"PSE_STREAM_LEVEL": "0"})
    assert (automatic.settings.level, automatic.settings.level_pinned) == (None, False)
    assert automatic.origins["level"] == "flag"


def test_profile_can_be_named_by_every_layer_and_taken_back(home: Path) -> None:
    put(home / "config/pse-stream/config.toml", 'profile = "alice"\n')
    assert resolve({}, environ={}).settings.attenuation_db == 24.0
    assert resolve({}, environ={"PSE_STREAM_PROFILE": "none"}).settings.profile is None
    assert resolve({"profile": "none"}, environ={}).settings.attenuation_db == Settings().attenuation_db


def test_named_configuration_file_is_used_alone_and_must_exist(home: Path) -> None:
    put(home / "config/pse-stream/config.toml", "[sound]\nlevel = 0\n")
    other = put(home / "other.toml", "[gate]\nmode = 'off'\n")
    for resolved in (resolve({}, config=other, environ={}), resolve({}, environ={"PSE_STREAM_CONFIG": str(other)})):
        assert (resolved.settings.gate, resolved.settings.level) == ("off", None)
    with pytest.raises(ConfigError, match="no configuration file"):
        resolve({}, config=home / "none.toml", environ={})


def test_misspelt_variable_is_named_and_other_variables_are_let_be() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve({}, environ={"PSE_STREAM_ENGNIE": "x"})
    assert caught.value.hint == "Use PSE_STREAM_ENGINE."
    resolve({}, environ={"PSE_STREAM_SOMETHING_ELSE": "x", "PSE_STREAM_ENGINE": ""})


@pytest.mark.parametrize("value", ["", "relative/folder"])
def test_empty_and_relative_folders_are_ignored(value: str, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", value)
    expected = put(home / ".config/pse-stream/config.toml", "")
    assert config_files(None, environ={}) == [expected]


def test_every_key_names_a_setting() -> None:
    assert set(resolve({}, environ={}).origins) <= set(SETTING_NAMES)
