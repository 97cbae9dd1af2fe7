"""A thread for what takes time and must not meet itself: opening and closing devices, building engines.

Tasks run in the order in which they were given. Under simulated time there is no thread and tasks run at once.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue

log = logging.getLogger(__name__)


class Owner:
    """Run tasks one after the other.

    Parameters
    ----------
    name : str
        Of the thread.
    threaded : bool
        False: run each task inside `run`.
    """

    def __init__(self, name: str, *, threaded: bool) -> None:
        self._name = name
        self._threaded = threaded
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._waiting = 0
        self._began: float | None = None

    @property
    def busy(self) -> bool:
        """True while a task runs or waits."""
        return self._waiting > 0

    @property
    def running_s(self) -> float:
        """How long the present task has been running; an audio library can hang for ever."""
        began = self._began
        return 0.0 if began is None else time.monotonic() - began

    def start(self) -> None:
        """Begin."""
        if self._threaded and self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()

    def run(self, task: Callable[[], None]) -> None:
        """Have a task done; it must not raise what anybody should see."""
        if not self._threaded:
            task()
            return
        self._waiting += 1
        self._tasks.put(task)

    def stop(self, timeout: float = 5.0) -> bool:
        """Finish what was given and end; False if a task hangs."""
        if self._thread is None or self._thread is threading.current_thread():
            return True
        self._tasks.put(None)
        self._thread.join(timeout)
        ended = not self._thread.is_alive()
        self._thread = None
        return ended

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            self._began = time.monotonic()
            try:
                task()
            except Exception:
                log.exception("a task of the thread %s failed", self._name)
            finally:
                self._began = None
                self._waiting -= 1
