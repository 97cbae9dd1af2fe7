"""Where things lie on this machine: the XDG folders (and their likes on macOS and Windows). Makes nothing."""

from __future__ import annotations

from pathlib import Path

from platformdirs import PlatformDirs

APP = "pse-stream"
_DIRS = PlatformDirs(APP, appauthor=False, multipath=True)


def config_folder() -> Path:
    """Configuration and keys, `~/.config/pse-stream`."""
    return _DIRS.user_config_path


def system_config_folders() -> list[Path]:
    """Configuration for all users of the machine, nearest first."""
    return [Path(folder) for folder in _DIRS.site_config_dir.split(":")]


def data_folder() -> Path:
    """Profiles and added engines, `~/.local/share/pse-stream`."""
    return _DIRS.user_data_path


def state_folder() -> Path:
    """State and text logs, `~/.local/state/pse-stream`."""
    return _DIRS.user_state_path


def cache_folder() -> Path:
    """What can be made again, `~/.cache/pse-stream`."""
    return _DIRS.user_cache_path


def profiles_folder() -> Path:
    """One folder per person."""
    return data_folder() / "profiles"
