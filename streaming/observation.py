"""What the governor sees: a few hops of the worker in eight figures.

Two of them tell two troubles apart: CPU time per hop is what our own work costs, run-queue wait is what other programs
take away. Where the system does not count the wait (`run_queue`), it is taken for the time that is left: from the
block's arrival to the end of the hop, less our CPU time. That also counts what is nobody's fault (a page fault, the
interpreter in another thread's hands), so there "busy" is said a little too often.
"""

from __future__ import annotations

from dataclasses import dataclass

from pse_stream.dsp.spec import HOP_MS

LOOK_HOPS = 8  # 16 looks a second: four before a quarter of a second of trouble is over
LOOK_S = 0.1  # or after this long: hops that take 50 ms must not wait for eight of them
GAP_S = 0.5  # sound that pauses for this long is another sound: what was collected is forgotten


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """A few hops in a row."""

    now: float  # seconds, at their end
    seconds: float  # that they took
    hops: int
    cpu_ms: float  # per hop, of the worker's thread
    wait_ms: float  # per hop, for a core
    span_ms: float  # per hop, from the block's arrival (or the end of the hop before) to its end
    late: int = 0  # hops with a span above 8 ms
    holes: int = 0  # blocks that the output did not get
    silent: bool = False  # digital silence among them: engines may rest, so the cost says nothing

    @property
    def bad(self) -> int:
        """What somebody may have heard."""
        return max(self.late, self.holes)


class HopLog:
    """Collects hops; from the worker's thread alone."""

    def __init__(self) -> None:
        self._ended: float | None = None  # when the last hop was done
        self._waited: float | None = None
        self._holes = 0
        self.restart()

    def restart(self) -> None:
        """Forget what was collected: sound stopped, or begins."""
        self._hops, self._late, self._seconds = 0, 0, 0.0
        self._cpu = self._wait = self._span = 0.0
        self._bad_holes = 0
        self._silent = False

    def hop(
        self, *, came: float, began: float, ended: float, cpu_s: float, waited_s: float | None, holes: int, silent: bool
    ) -> Observation | None:
        """One more; an observation when enough have come.

        Parameters
        ----------
        came, began, ended : float
            When its block (or a later one) came, when work on it began, when it was done; seconds.
        cpu_s : float
            CPU time of it.
        waited_s : float or None
            For a core, since the thread began; None: the system does not say.
        holes : int
            Of the output, since start.
        silent : bool
            The block was digital silence.
        """
        last, self._ended = self._ended, ended
        waited, self._waited = self._waited, waited_s
        fresh, self._holes = max(0, holes - self._holes), holes
        if last is None or ended - last > GAP_S:
            self.restart()
            return None
        span = ended - min(began, max(came, last))
        self._hops += 1
        self._seconds += ended - last
        self._span += span
        self._late += span * 1000.0 > HOP_MS
        self._cpu += cpu_s
        known = waited is not None and waited_s is not None
        self._wait += max(0.0, waited_s - waited) if known else max(0.0, span - cpu_s)  # type: ignore[operator]
        self._bad_holes += fresh
        self._silent |= silent
        return self._look(ended) if self._hops >= LOOK_HOPS or self._seconds >= LOOK_S else None

    def _look(self, now: float) -> Observation:
        each = 1000.0 / self._hops
        seen = Observation(
            now=now,
            seconds=self._seconds,
            hops=self._hops,
            cpu_ms=self._cpu * each,
            wait_ms=self._wait * each,
            span_ms=self._span * each,
            late=self._late,
            holes=self._bad_holes,
            silent=self._silent,
        )
        self.restart()
        return seen
