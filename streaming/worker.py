"""The worker's thread: sleeps until woken, then steps until there is nothing left to do.

Waking is a put into a C queue: it neither waits nor takes a lock that Python code may hold, so callbacks may do it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

log = logging.getLogger(__name__)

LOOK_S = 1.0  # a wake-up that was missed costs this at most; cheap enough to be idle with


class Worker:
    """Run `step` in one daemon thread."""

    def __init__(self) -> None:
        self._tokens: SimpleQueue[bool] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self.fault = ""  # what ended the thread, in words, if not `stop`

    def start(self, step: Callable[[], bool]) -> None:
        """Begin; `step` says True while there is more to do."""
        self._thread = threading.Thread(target=self._run, args=(step,), name="pse-worker", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """There may be work; returns at once, from any thread."""
        if self._thread is not None:  # in simulated time nobody would ever take the tokens away
            self._tokens.put(True)

    def stop(self, timeout: float = 2.0) -> None:
        """End the thread and wait for it."""
        if self._thread is not None:
            self._tokens.put(False)
            self._thread.join(timeout)
            self._thread = None

    def _run(self, step: Callable[[], bool]) -> None:
        try:
            while True:
                try:
                    if not self._tokens.get(timeout=LOOK_S):
                        return
                except Empty:
                    pass
                while step():
                    pass
        except Exception as error:
            self.fault = f"the worker ended ({type(error).__name__}: {error})"
            log.exception("the worker ended")
