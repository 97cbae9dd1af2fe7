"""Find profiles by name: the person's own first, then the examples that come with the program."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from pse_stream.errors import ConfigError
from pse_stream.profiles.folders import profiles_folder
from pse_stream.profiles.profile import PROFILE_FILE, Profile, read_profile

EXAMPLES = Path(__file__).parent / "examples"
_ID = re.compile(r"[a-z0-9_-]{1,64}")


def profile_names() -> list[str]:
    """The names that `open_profile` knows."""
    folders = [*_folders(profiles_folder()), *_folders(EXAMPLES)]
    return sorted({folder.name for folder in folders})


def open_profile(name: str) -> Profile:
    """The profile of that name.

    Raises
    ------
    ConfigError
        If there is none (with the nearest name), or it cannot be read.
    """
    if _ID.fullmatch(name):
        for folder in (profiles_folder() / name, EXAMPLES / name):
            if folder.is_dir():
                return read_profile(folder)
    names = profile_names()
    near = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.5)
    if near:
        hint = f'Did you mean "{near[0]}"?'
    else:
        hint = f"There are: {', '.join(names)}. Make one: {profiles_folder()}/NAME/{PROFILE_FILE}"
    raise ConfigError(f'there is no profile "{name}".', name="no_profile", hint=hint)


def _folders(parent: Path) -> list[Path]:
    if not parent.is_dir():
        return []
    return [folder for folder in parent.iterdir() if (folder / PROFILE_FILE).is_file() and _ID.fullmatch(folder.name)]
