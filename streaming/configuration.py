"""All settings together: flag > environment > profile > configuration file > default, each with where it came from."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pse_stream.errors import ConfigError
from pse_stream.profiles.folders import config_folder, system_config_folders
from pse_stream.profiles.settings_table import BY_SETTING, KEYS, Placed, parsed, read_settings
from pse_stream.streaming.settings import Origin, Settings

CONFIG_NAME = "config.toml"
VARIABLE = "PSE_STREAM_"
CONFIG_VARIABLE = f"{VARIABLE}CONFIG"  # names a file; no setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """The settings to start with."""

    settings: Settings
    origins: dict[str, Origin]
    places: dict[str, str]  # "--engine", "PSE_STREAM_ENGINE", "FILE:LINE" or "built in"


def config_files(explicit: Path | None, environ: Mapping[str, str] = os.environ) -> list[Path]:
    """The configuration files that count, strongest first.

    Raises
    ------
    ConfigError
        If one that was asked for by name does not exist.
    """
    if explicit is None and environ.get(CONFIG_VARIABLE):
        explicit = Path(environ[CONFIG_VARIABLE])
    if explicit is not None:
        if not explicit.is_file():
            raise ConfigError(f'there is no configuration file "{explicit}".', name="no_config", hint="Check the name.")
        return [explicit]
    files = [config_folder() / CONFIG_NAME, *(folder / CONFIG_NAME for folder in system_config_folders())]
    return [path for path in files if path.is_file()]


def resolve(
    flags: Mapping[str, Any], *, config: Path | None = None, environ: Mapping[str, str] = os.environ
) -> Resolved:
    """The settings that result from everything a person wrote.

    Parameters
    ----------
    flags : mapping
        Settings given on the command line, by name; None is "not given".
    config : Path or None
        Use this file alone instead of the usual ones.

    Raises
    ------
    ConfigError
        If a file, variable or profile is missing, unknown or makes no sense.
    """
    layers: list[tuple[Origin, dict[str, Placed]]] = []
    for path in reversed(config_files(config, environ)):
        layers.append(("config", read_settings(path)))
    layers.append(("environment", _from_environment(environ)))
    layers.append(("flag", {name: Placed(value, _flag(name)) for name, value in flags.items() if value is not None}))
    profile = next((layer["profile"].value for _, layer in reversed(layers) if "profile" in layer), None)
    if profile is not None and profile != "none":
        layers.insert(-2, ("profile", _from_profile(profile)))
    values: dict[str, Any] = {}
    origins: dict[str, Origin] = dict.fromkeys(BY_SETTING, "default")
    places = dict.fromkeys(BY_SETTING, "built in")
    for origin, layer in layers:
        for name, placed in layer.items():
            values[name], origins[name], places[name] = placed.value, origin, placed.place
    values["profile"] = None if profile == "none" else profile
    values["level"] = None if values.get("level") == "auto" else values.get("level")
    values["level_pinned"] = values["level"] is not None
    return Resolved(settings=Settings(**values), origins=origins, places=places)


def _from_environment(environ: Mapping[str, str]) -> dict[str, Placed]:
    names = {f"{VARIABLE}{key.setting.upper()}": key for key in KEYS}
    found = {}
    for variable, word in environ.items():
        if not variable.startswith(VARIABLE) or word == "":
            continue
        if variable in names:
            key = names[variable]
            found[key.setting] = Placed(parsed(key, word, variable), variable)
        elif variable != CONFIG_VARIABLE and (near := difflib.get_close_matches(variable, names, n=1, cutoff=0.8)):
            raise ConfigError(
                f"the variable {variable} is set, but nothing reads it.", name="unknown_key", hint=f"Use {near[0]}."
            )
    return found


def _from_profile(name: str) -> dict[str, Placed]:
    from pse_stream.profiles.store import open_profile

    return open_profile(name).settings


def _flag(setting: str) -> str:
    return "--" + setting.replace("_", "-")
