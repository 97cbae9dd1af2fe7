"""Delete a profile: say what will go, let it go, and give a receipt."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pse_stream.errors import ConfigError
from pse_stream.profiles.profile import (
    CONSENT_FILE,
    ENROLMENT_FOLDER,
    MODELS_FOLDER,
    PROFILE_FILE,
    SESSIONS_FOLDER,
)
from pse_stream.profiles.store import EXAMPLES, find_folder

#: What a folder's contents are to a person.
_WORDS = {
    PROFILE_FILE: "settings",
    CONSENT_FILE: "consent",
    ENROLMENT_FOLDER: "voice and clips",
    MODELS_FOLDER: "adapted models",
    SESSIONS_FOLDER: "recorded sessions",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One thing that goes."""

    what: str
    path: Path  # where it really lies; sessions may be a link to another disk
    files: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """What goes with a profile; after `carry_out`, the receipt."""

    name: str
    folder: Path
    parts: tuple[Part, ...]
    done: datetime | None = None

    @property
    def files(self) -> int:
        """In all parts."""
        return sum(part.files for part in self.parts)

    @property
    def bytes(self) -> int:
        """In all parts."""
        return sum(part.bytes for part in self.parts)


def plan_deletion(name: str) -> Deletion:
    """What deleting a profile means; works for a damaged one as well.

    Raises
    ------
    ConfigError
        "no_profile", or "example_profile" for one that comes with the program.
    """
    folder = find_folder(name)
    if folder.parent == EXAMPLES:
        raise ConfigError(
            f'"{name}" is an example that comes with the program; there is nothing of yours in it.',
            name="example_profile",
        )
    entries = sorted(folder.iterdir()) if not folder.is_symlink() else []
    parts = [_part(path) for path in entries]
    if folder.is_symlink():
        parts = [_part(path) for path in sorted(folder.resolve().iterdir())]
    return Deletion(name=name, folder=folder, parts=tuple(parts))


def carry_out(plan: Deletion) -> Deletion:
    """Delete for good; the profile is gone from the list before its files are.

    Raises
    ------
    ConfigError
        "unwritable": something could not be deleted; it is named.
    """
    gone = plan.folder.with_name(f".deleted-{os.getpid()}-{plan.name}")
    try:
        os.rename(plan.folder, gone)
        for part in plan.parts:  # links first: what they point to lies elsewhere
            if part.path.parent != plan.folder and part.path.is_dir():
                shutil.rmtree(part.path)
        if gone.is_symlink():
            shutil.rmtree(gone.resolve())
            gone.unlink()
        else:
            shutil.rmtree(gone)
    except OSError as error:
        raise ConfigError(
            f'"{error.filename}" could not be deleted: {error.strerror}.',
            name="unwritable",
            hint=f"What is left of the profile lies in {gone if gone.exists() else plan.folder}",
        ) from error
    return Deletion(name=plan.name, folder=plan.folder, parts=plan.parts, done=datetime.now(UTC))


def _part(path: Path) -> Part:
    real = path.resolve() if path.is_symlink() else path
    files = [file for file in real.rglob("*") if file.is_file()] if real.is_dir() else [real]
    size = sum(file.lstat().st_size for file in files if file.exists())
    return Part(what=_WORDS.get(path.name, path.name), path=real, files=len(files), bytes=size)
