"""A person's profile, as far as sound is concerned: the settings in `profile.toml`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pse_stream.errors import ConfigError
from pse_stream.profiles.settings_table import Placed, read_settings

PROFILE_FILE = "profile.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A folder that its owner can read, copy and delete."""

    id: str  # the folder's name
    folder: Path
    settings: dict[str, Placed]  # by the name of the setting


def read_profile(folder: Path) -> Profile:
    """Read a profile's folder; what is there besides settings is left alone.

    Raises
    ------
    ConfigError
        If its `profile.toml` is missing or makes no sense.
    """
    path = folder / PROFILE_FILE
    if not path.is_file():
        raise ConfigError(f'the profile "{folder.name}" has no {PROFILE_FILE} in {folder}.', name="bad_profile")
    settings = read_settings(path, ignore_unknown=True)
    settings.pop("profile", None)
    return Profile(id=folder.name, folder=folder, settings=settings)
