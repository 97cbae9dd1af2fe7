"""The settings in a TOML file: one list of keys for configuration files and profiles.

    profile = "alice"              # configuration files only
    [sound]
    engine = "auto"
    level = "auto"                 # or 0, 1, … of the engine
    attenuation_limit_db = 30.0    # 0: hear everything, 100: no limit
    [devices]
    input = "auto"                 # or a part of a device's name
    output = "auto"
    channels = "auto"              # auto | left | right | mix
    [governor]
    mode = "auto"                  # off | auto | eco | quality
    [gate]
    mode = "auto"                  # auto | off | the name of a specialist

A wrong value and, in a configuration file, an unknown key are errors that name the line: a misspelt wish that is
silently ignored is worse than a stop.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pse_stream.errors import ConfigError

MAX_FILE_BYTES = 1 << 20  # a settings file is a page of text; more is a mistake


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One thing that can be set."""

    setting: str  # the name in streaming.settings.Settings
    table: str  # "" is the top of the file
    name: str  # the key in that table
    expects: str  # in words, for messages
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    whole: bool = False  # whole numbers only
    text: bool = False  # any text

    @property
    def path(self) -> str:
        """As one would say it: sound.engine."""
        return f"{self.table}.{self.name}" if self.table else self.name


KEYS = (
    Key(setting="profile", table="", name="profile", expects="the name of a profile", text=True),
    Key(setting="engine", table="sound", name="engine", expects='"auto" or the id of an engine', text=True),
    Key(
        setting="level",
        table="sound",
        name="level",
        expects='"auto" or a whole number from 0',
        choices=("auto",),
        low=0,
        high=99,
        whole=True,
    ),
    Key(
        setting="attenuation_db",
        table="sound",
        name="attenuation_limit_db",
        expects="decibels from 0 (hear everything) to 100 (no limit)",
        low=0.0,
        high=100.0,
    ),
    Key(setting="input", table="devices", name="input", expects='"auto" or a part of a device\'s name', text=True),
    Key(setting="output", table="devices", name="output", expects='"auto" or a part of a device\'s name', text=True),
    Key(
        setting="channels",
        table="devices",
        name="channels",
        expects="auto, left, right or mix",
        choices=("auto", "left", "right", "mix"),
    ),
    Key(
        setting="governor",
        table="governor",
        name="mode",
        expects="off, auto, eco or quality",
        choices=("off", "auto", "eco", "quality"),
    ),
    Key(setting="gate", table="gate", name="mode", expects='"auto", "off" or the name of a specialist', text=True),
)
BY_SETTING = {key.setting: key for key in KEYS}


@dataclass(frozen=True, slots=True)
class Placed:
    """A value and where it was written."""

    value: Any
    place: str  # "FILE:LINE" or the name of a variable or flag


def read_settings(path: Path, *, ignore_unknown: bool = False) -> dict[str, Placed]:
    """The settings in a TOML file, by the name of the setting.

    Parameters
    ----------
    path : Path
    ignore_unknown : bool
        For profiles, which hold more than settings.

    Raises
    ------
    ConfigError
        If the file cannot be read or parsed, a key is unknown, or a value makes no sense.
    """
    text = read_text(path)
    return settings_of(parse(text, path), text, path, ignore_unknown=ignore_unknown)


def settings_of(
    document: Mapping[str, Any], text: str, path: Path, *, ignore_unknown: bool = False
) -> dict[str, Placed]:
    """As `read_settings`, of a document that was parsed already; `text` says on which line a key stands."""
    found: dict[str, Placed] = {}
    for table, name, value in _leaves(document):
        key = next((key for key in KEYS if (key.table, key.name) == (table, name)), None)
        line = line_of(text, table, name)
        if key is not None:
            found[key.setting] = Placed(checked(key, value, f"{path}:{line}"), f"{path}:{line}")
        elif not ignore_unknown:
            raise unknown_key(f"{table}.{name}" if table else name, f"{path}:{line}")
    return found


def checked(key: Key, value: Any, place: str) -> Any:
    """`value` as the setting wants it.

    Raises
    ------
    ConfigError
        If it is of the wrong kind or out of range.
    """
    good = False
    if isinstance(value, str):
        good = (key.text and value != "") or value in key.choices
    elif (
        isinstance(value, int | float) and not isinstance(value, bool) and key.low is not None and key.high is not None
    ):
        good = key.low <= value <= key.high and (isinstance(value, int) or not key.whole)
    if not good:
        raise ConfigError(f"{place}: {key.path} = {value!r}; expected {key.expects}.", name="bad_value")
    return float(value) if key.low is not None and not key.whole else value


def parsed(key: Key, word: str, place: str) -> Any:
    """A value given as text (a flag, an environment variable), checked like one in a file."""
    if key.low is not None and word not in key.choices:
        try:
            return checked(key, int(word) if key.whole else float(word), place)
        except ValueError:
            pass  # reported below as what it is: text where a number was expected
    return checked(key, word, place)


def unknown_key(path: str, place: str) -> ConfigError:
    """The error for a key that nothing reads, with the nearest that something does."""
    known = {key.path: key.path for key in KEYS} | {key.name: key.path for key in KEYS}
    near = difflib.get_close_matches(path, known, n=1, cutoff=0.5) or difflib.get_close_matches(
        path.rpartition(".")[2], known, n=1, cutoff=0.5
    )
    hint = f"Did you mean {known[near[0]]}?" if near else f"Known: {', '.join(key.path for key in KEYS)}."
    return ConfigError(f"{place}: unknown key {path}.", name="unknown_key", hint=hint)


def line_of(text: str, table: str, name: str) -> int:
    """The line, from 1, on which a key stands (its table's line for keys written inline)."""
    where, table_line = "", 0
    pattern = re.compile(rf"""\s*(?:["']?{re.escape(table)}["']?\s*\.\s*)?["']?{re.escape(name)}["']?\s*[=.]""")
    for number, line in enumerate(text.splitlines(), start=1):
        header = re.match(r"\s*\[\[?\s*([^\]]+?)\s*\]", line)
        if header is not None:
            where = header[1].strip("\"' ")
            if where in (table, name) or where.endswith(f".{name}"):
                table_line = number
        elif where in (table, "") and pattern.match(line):
            return number
        elif where == "" and re.match(rf"\s*{re.escape(table)}\s*=", line):
            table_line = number
    return max(table_line, 1)


def parse(text: str, path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises
    ------
    ConfigError
        "bad_toml", with the line, the column and the key that stands there.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f'"{path}" is not valid TOML: {error}{_key_at(text, str(error))}.', name="bad_toml", hint="Mend that line."
        ) from error


def _key_at(text: str, complaint: str) -> str:
    """`, key "engine"` for the line that a complaint of tomllib names; empty if there is no key on it."""
    at = re.search(r"at line (\d+)", complaint)
    lines = text.splitlines()
    if at is None or int(at[1]) > len(lines):
        return ""
    key = re.match(r"\s*([\w.\"'-]+)\s*=", lines[int(at[1]) - 1])
    return f", key {key[1]}" if key is not None else ""


def _leaves(document: Mapping[str, Any]) -> list[tuple[str, str, Any]]:
    """(table, key, value) of everything written; deeper tables count as one value."""
    leaves: list[tuple[str, str, Any]] = []
    for name, value in document.items():
        if isinstance(value, dict) and any(key.table == name for key in KEYS):
            leaves += [(name, inner, deep) for inner, deep in value.items()]
        else:
            leaves.append(("", name, value))
    return leaves


def read_text(path: Path) -> str:
    """The text of a settings file.

    Raises
    ------
    ConfigError
        If it cannot be read, is not UTF-8, or is far too large to be one.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ConfigError(
                f'"{path}" has {path.stat().st_size} bytes; expected a settings file of at most {MAX_FILE_BYTES}.'
            )
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f'"{path}" cannot be read: {error.strerror}.', name="no_config", hint="Check the name and its permissions."
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f'"{path}" is not UTF-8 text.', name="bad_toml", hint="Save it as UTF-8.") from error
