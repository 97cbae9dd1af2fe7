"""Requests that are answered later: changes that wait for the worker, slow questions that wait for a job.

Whoever ends a request does so in a thread of its own; here that becomes a readable socket for the server's thread.
"""

from __future__ import annotations

import contextlib
import socket
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from pse_stream.control.messages import Request
from pse_stream.control.sessions import AnswerKey, Peer, Session

APPLY_S = 10.0  # what has not been answered by then is answered for


@dataclass(slots=True)
class Errand:
    """A change or a slow question on its way."""

    request: Request
    peer: Peer
    session: Session
    deadline: float  # monotonic seconds
    slow: bool  # done by the job thread
    key: AnswerKey | None = None  # of the answer that is kept; None for a question


class UnderWay:
    """Remembers who waits for what.

    Attributes
    ----------
    wakened : socket
        Readable when something has ended.
    """

    def __init__(self) -> None:
        self._errands: dict[Future[Any], Errand] = {}
        self._finished: deque[Future[Any]] = deque()
        self.wakened, self._alarm = socket.socketpair()
        self.wakened.setblocking(False)
        self._alarm.setblocking(False)

    def follow(self, future: Future[Any], errand: Errand) -> None:
        """Somebody waits for this."""
        errand.session.pending += 1
        self._errands[future] = errand
        future.add_done_callback(self._finish)

    @property
    def slow(self) -> int:
        """How much the job thread has to do."""
        return sum(errand.slow for errand in self._errands.values())

    def _finish(self, future: Future[Any]) -> None:
        """Called in whatever thread ends the request: two cheap calls, no lock, nothing that waits."""
        self._finished.append(future)
        self.wake()

    def wake(self) -> None:
        """Make `wakened` readable, from any thread."""
        with contextlib.suppress(OSError):  # full: it will wake anyway; closed: nobody is left to wake
            self._alarm.send(b"\0")

    def hush(self) -> None:
        """`wakened` was seen to be readable: no longer."""
        with contextlib.suppress(BlockingIOError):
            self.wakened.recv(4096)

    def ended(self, now: float) -> Iterator[tuple[Errand, Future[Any]]]:
        """What has an answer, and what gets none: those futures are cancelled."""
        while self._finished:
            future = self._finished.popleft()
            if future in self._errands:  # else it was given up before
                yield self._take(future), future
        for future in [future for future, errand in self._errands.items() if now > errand.deadline]:
            future.cancel()
            yield self._take(future), future

    def everything(self) -> Iterator[tuple[Errand, Future[Any]]]:
        """All that is under way, whether it has ended or not; the end of it."""
        for future in list(self._errands):
            yield self._take(future), future

    def _take(self, future: Future[Any]) -> Errand:
        errand = self._errands.pop(future)
        errand.session.pending -= 1
        return errand

    def close(self) -> None:
        """Nothing wakes anybody any more."""
        self._alarm.close()
        self.wakened.close()
