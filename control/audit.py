"""Who asked for what, and what became of it: one JSON line for each change, each refusal and each closed door.

In `$XDG_STATE_HOME/pse-stream/audit.log` (0600), at most two files of `MAX_BYTES`. Reads that were answered are not
logged: a display that asks twice a second would fill the disk. A flood of refusals is counted, not written.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import IO

from pse_stream.control.budget import TokenBucket

MAX_BYTES = 1_000_000
_REFUSALS_PER_S, _REFUSAL_BURST = 2.0, 50.0


def audit_path() -> Path:
    """Where this user's audit log is."""
    base = os.environ.get("XDG_STATE_HOME", "")
    root = Path(base) if os.path.isabs(base) else Path.home() / ".local" / "state"
    return root / "pse-stream" / "audit.log"


class AuditLog:
    """Appends lines; a disk that is full or read-only is counted in `lost` and never stops the denoiser."""

    def __init__(self, path: Path | None) -> None:
        self._path = path  # None: nothing is written
        self._file: IO[str] | None = None
        self._refusals: TokenBucket | None = None
        self._unwritten = 0
        self._unflushed = False
        self.lost = 0

    def accepted(self, user: str, method: str, params: object, outcome: object) -> None:
        """A change took effect."""
        self._write({"event": "accepted", "user": user, "method": method, "params": params, "outcome": outcome})

    def refused(self, user: str, method: str, name: str, text: str) -> None:
        """A request, or somebody at the door, was refused."""
        now = time.monotonic()
        if self._refusals is None:
            self._refusals = TokenBucket(_REFUSALS_PER_S, _REFUSAL_BURST, now)
        if not self._refusals.take(now):
            self._unwritten += 1
            return
        entry: dict[str, object] = {
            "event": "refused",
            "user": user,
            "method": method,
            "name": name,
            "text": text[:300],
        }
        if self._unwritten:
            entry["unwritten_before"] = self._unwritten
            self._unwritten = 0
        self._write(entry)

    def note(self, text: str) -> None:
        """The server started, stopped, or changed its door."""
        self._write({"event": "server", "text": text})

    def close(self) -> None:
        """Close the file."""
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError:
                self.lost += 1

    def _write(self, entry: dict[str, object]) -> None:
        if self._path is None:
            return
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        try:
            file = self._file or self._open(self._path)
            file.write(json.dumps({"time": stamp, **entry}, default=str) + "\n")
            self._unflushed = True
        except OSError:
            self._give_up()

    def flush(self) -> None:
        """Hand what was written to the system: a few times a second, not after each line."""
        if self._path is None or self._file is None or not self._unflushed:
            return
        self._unflushed = False
        try:
            self._file.flush()
            if self._file.tell() > MAX_BYTES:
                self.close()
                os.replace(self._path, self._path.with_suffix(".log.1"))
        except OSError:
            self._give_up()

    def _give_up(self) -> None:
        self.lost += 1
        self.close()

    def _open(self, path: Path) -> IO[str]:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._file = os.fdopen(fd, "a", encoding="utf-8")
        return self._file
