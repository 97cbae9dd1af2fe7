"""How long a thread has waited for a core: the sign of other programs, without any privilege.

Linux keeps it in /proc/self/task/TID/schedstat: `cpu_ns  runqueue_wait_ns  slices`. Elsewhere there is no such figure.
"""

from __future__ import annotations

import os
import weakref
from pathlib import Path

SCHEDSTAT = Path("/proc/thread-self/schedstat")
LINE_BYTES = 128


class RunQueue:
    """The figure of one thread: of the first that asks.

    Parameters
    ----------
    path : Path
        Where the system says it.
    """

    def __init__(self, path: Path = SCHEDSTAT) -> None:
        self._path = path
        self._file: int | None = None
        self._missing = False

    def waited_s(self) -> float | None:
        """Seconds since the thread began; None where the system does not say. Some 2 us."""
        if self._missing:
            return None
        try:
            if self._file is None:  # opened late, because "thread-self" is whoever opens it
                self._file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
                weakref.finalize(self, os.close, self._file)
            return int(os.pread(self._file, LINE_BYTES, 0).split()[1]) * 1e-9
        except (OSError, IndexError, ValueError, AttributeError):  # no such file, thread or call
            self._missing = True
            return None
