"""Profiles by name: the person's own first, then the examples that come with the program.

A profile appears and disappears in one step (a rename), so that a crash leaves a whole one or none.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pse_stream.errors import ConfigError
from pse_stream.profiles.folders import profiles_folder
from pse_stream.profiles.profile import PROFILE_FILE, Profile, read_profile
from pse_stream.profiles.settings_table import BY_SETTING, KEYS

EXAMPLES = Path(__file__).parent / "examples"
NOBODY = "none"  # the word for "no profile" in flags and files
LONGEST_NAME = 32  # an engine of a profile is called NAME.MODEL, in 64 characters (control/commands.py)
_ID = re.compile(r"[a-z0-9_-]{1,64}")
_NEW_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_DRAFT = ".draft-"  # a folder that is not a profile yet


def profile_names() -> list[str]:
    """The names that `open_profile` knows."""
    folders = [*_folders(profiles_folder()), *_folders(EXAMPLES)]
    return sorted({folder.name for folder in folders})


def open_profile(name: str) -> Profile:
    """The profile of that name.

    Raises
    ------
    ConfigError
        "no_profile" if there is none (with the nearest name), or as `read_profile` raises.
    """
    return read_profile(find_folder(name))


def find_folder(name: str) -> Path:
    """Where a profile lies; it may be damaged.

    Raises
    ------
    ConfigError
        "no_profile" if there is none, with the nearest name.
    """
    if _ID.fullmatch(name):
        for folder in (profiles_folder() / name, EXAMPLES / name):
            if folder.is_dir():
                return folder
    names = profile_names()
    near = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.5)
    if near:
        hint = f'Did you mean "{near[0]}"?'
    else:
        hint = f"There are: {', '.join(names)}. Make one: pse-stream profile new NAME"
    raise ConfigError(f'there is no profile "{name}".', name="no_profile", hint=hint)


def is_example(profile: Profile) -> bool:
    """True for one that came with the program: nothing can be kept in it."""
    return profile.folder.parent == EXAMPLES


def own_profile(name: str) -> Profile:
    """The profile of that name as the person's own; an example is copied first, since something will be written.

    Raises
    ------
    ConfigError
        As `open_profile`, or if it is of a later version.
    """
    profile = open_profile(name)
    profile.insist_writable()
    if not is_example(profile):
        return profile
    with draft() as folder:
        shutil.copytree(profile.folder, folder, dirs_exist_ok=True)
        return _settle(folder, name)


def insist_new_name(name: str) -> None:
    """Raise `ConfigError` unless a profile may get this name and does not exist."""
    if not _NEW_ID.fullmatch(name) or name == NOBODY:
        raise ConfigError(
            f'"{name}" cannot be the name of a profile; expected lower-case letters, digits, - and _ '
            f"(at most {LONGEST_NAME}), not {NOBODY}.",
            name="bad_profile_name",
            hint='The name that is shown may be anything: pse-stream profile new NAME --title "Any Name"',
        )
    if (profiles_folder() / name).exists():
        raise ConfigError(
            f'there is a profile "{name}" already; it was not touched.',
            name="profile_exists",
            hint=f"See it: pse-stream profile show {name}",
        )


def new_profile(name: str, *, title: str = "", settings: Mapping[str, Any] | None = None) -> Profile:
    """Make a profile.

    Parameters
    ----------
    title : str
        Shown to people; the name with a capital letter unless given.
    settings : mapping or None
        Settings to write down, by name; the others stay what they are without a profile.

    Raises
    ------
    ConfigError
        "bad_profile_name", "profile_exists", or if it cannot be written.
    """
    insist_new_name(name)
    with draft() as folder:
        text = _template(title or name.capitalize(), settings or {})
        (folder / PROFILE_FILE).write_text(text, encoding="utf-8")
        return _settle(folder, name)


@contextlib.contextmanager
def draft() -> Iterator[Path]:
    """A private folder among the profiles that becomes one by `settle`, or goes.

    Raises
    ------
    ConfigError
        "unwritable": the disk or the folder refuses.
    """
    parent = profiles_folder()
    folder = None
    try:
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=_DRAFT, dir=parent))
        yield folder
    except OSError as error:
        raise ConfigError(
            f'nothing can be written in "{parent}": {error.strerror}.',
            name="unwritable",
            hint="Check free space and permissions.",
        ) from error
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def settle_free(folder: Path, wanted: str) -> Profile:
    """Make a draft a profile under the first free of NAME, NAME-2, NAME-3, …"""
    number = 1
    while True:
        suffix = "" if number == 1 else f"-{number}"
        name = f"{wanted[: LONGEST_NAME - len(suffix)]}{suffix}"
        try:
            return _settle(folder, name)
        except ConfigError as error:
            if error.name != "profile_exists":
                raise
        number += 1


def _settle(folder: Path, name: str) -> Profile:
    target = profiles_folder() / name
    try:
        if target.exists() or target.is_symlink():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        os.rename(folder, target)  # refuses a folder that holds something; an empty one is nobody's
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
        raise ConfigError(f'there is a profile "{name}" already; it was not touched.', name="profile_exists") from error
    return read_profile(target)


def _template(title: str, settings: Mapping[str, Any]) -> str:
    import tomlkit

    lines = [
        "# A profile of pse-stream: pse-stream --profile NAME. What is commented out is as without a profile.",
        "schema = 1",
        f"name = {tomlkit.item(title).as_string()}",
    ]
    table = ""
    for key in KEYS:
        if key.table == "":
            continue
        if key.table != table:
            table = key.table
            lines += ["", f"[{table}]"]
        if settings.get(key.setting) is not None:
            lines.append(f"{key.name} = {tomlkit.item(settings[key.setting]).as_string()}")
        else:
            lines.append(f"# {key.name} = …    # {BY_SETTING[key.setting].expects}")
    lines += [
        "",
        "[logging]",
        "consent = false    # set by: pse-stream sessions on",
        "keep_days = 30",
        "max_gib = 2.0",
        "",
        "[adapted]",
        'active = ""        # set by: pse-stream adapt; "" is the general engine',
        "",
    ]
    return "\n".join(lines)


def _folders(parent: Path) -> list[Path]:
    if not parent.is_dir():
        return []
    return [folder for folder in parent.iterdir() if (folder / PROFILE_FILE).is_file() and _ID.fullmatch(folder.name)]
