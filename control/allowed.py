"""The allow-list of a denoiser: whose keys are let in, and what they may do.

A line per key: public half, role, name. It is read again whenever it changes, so that revoking acts at once; a list
that others can change, or that cannot be read, lets nobody in.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from pse_stream.errors import ControlError

Role = Literal["observe", "control"]
ROLES: tuple[Role, ...] = get_args(Role)

NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,31}\Z")  # of a key
Z85 = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}\Z")  # 32 bytes as text (RFC 32)


@dataclass(frozen=True, slots=True)
class Allowed:
    """Somebody who may talk to this denoiser."""

    name: str
    role: Role
    public: str


class AllowList:
    """The allow-list as a running server sees it: read again when the file changes; unreadable means nobody."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._by_public: dict[str, Allowed] = {}
        self._keys: frozenset[str] = frozenset()
        self.problem = ""  # why nobody is let in

    def get(self, public: str) -> Allowed | None:
        """Who holds this key, if they are allowed."""
        self.refresh()
        return self._by_public.get(public)

    def refresh(self) -> None:
        """Read the file if it changed."""
        try:
            found = self._path.stat()
            stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
        except OSError:
            stamp = (0, 0, 0)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._by_public = {entry.public: entry for entry in read_allowed(self._path)}
            self.problem = ""
        except ControlError as error:
            self._by_public = {}
            self.problem = str(error)
        self._keys = frozenset(self._by_public)

    def keys(self) -> frozenset[str]:
        """Public keys that are let in."""
        self.refresh()
        return self._keys


def read_allowed(path: Path) -> list[Allowed]:
    """Entries of an allow-list; none if there is no file.

    Raises
    ------
    ControlError
        If others can change the file, or a line cannot be read.
    """
    try:
        text = read_private(path, forbidden=0o022)
    except FileNotFoundError:
        return []
    entries = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("# "):
            continue
        words = line.split()
        if len(words) != 3 or not Z85.match(words[0]) or words[1] not in ROLES or not NAME.match(words[2]):
            raise ControlError(
                f"{path} line {number} cannot be read; expected: public-key observe|control name.", name="bad_key"
            )
        role: Role = "control" if words[1] == "control" else "observe"
        entries.append(Allowed(words[2], role, words[0]))
    return entries


def read_private(path: Path, forbidden: int = 0o077) -> str:
    """Text of a file that others may not touch in the ways of `forbidden` (mode bits); `key_mode` if they can."""
    with path.open(encoding="utf-8", errors="replace") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & forbidden:
            verb = "read" if forbidden & 0o044 else "changed"
            raise ControlError(
                f"{path} can be {verb} by others ({mode:04o}).", name="key_mode", hint=f"Fix: chmod 600 {path}"
            )
        return file.read()
