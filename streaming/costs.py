"""What each rung costs: as calibrated, corrected by what is seen while it runs.

A calibration may be missing, old, or made while the machine was at something else. So the rung that runs is measured
all the time and believed before the table; and as the errors of one table have one cause, the rungs that do not run
are scaled alike.
"""

from __future__ import annotations

from collections.abc import Mapping

#: Engine id, level.
Key = tuple[str, int]

RISE_SHARE, FALL_SHARE = 0.15, 0.02  # per look: dearer is believed within half a second, cheaper within three
LEAST_MS = 0.001
TRUST = 30.0  # the largest factor a table is corrected by; beyond it, it says nothing
WILD = 3.0  # a table that is so far off is worth measuring again


class Costs:
    """Milliseconds of CPU time per hop, by rung."""

    def __init__(self) -> None:
        self._table: dict[Key, float] = {}
        self._seen: dict[Key, float] = {}
        self._scale = 1.0  # what is seen of the rung that runs, against what the table says of it
        self._last: Key | None = None  # the rung that runs

    def calibrate(self, table: Mapping[Key, float]) -> None:
        """Take what a calibration says of some rungs; what was seen stays."""
        self._table.update(table)
        self._scale = 1.0

    def learn(self, rung: Key, cpu_ms: float) -> None:
        """What the rung that runs has cost just now.

        When it gets dearer or cheaper while it runs, the machine has changed, and so have the others.
        """
        cpu_ms = max(cpu_ms, LEAST_MS)
        before = self._seen.get(rung)
        if before is None or rung != self._last:
            self._seen[rung], self._last = cpu_ms, rung
        else:
            now = before + (RISE_SHARE if cpu_ms > before else FALL_SHARE) * (cpu_ms - before)
            for other in self._seen:
                self._seen[other] *= now / before
        if self._table.get(rung, 0.0) > 0.0:
            self._scale = min(max(self._seen[rung] / self._table[rung], 1.0 / TRUST), TRUST)

    def of(self, rung: Key) -> float | None:
        """Milliseconds per hop; None if nothing is known.

        What was seen of it may have been seen while others heated the machine: the table may say less.
        """
        said, seen = self._table.get(rung), self._seen.get(rung)
        if said is None or rung == self._last:
            return seen
        return said * self._scale if seen is None else min(seen, said * self._scale)

    def known(self, rung: Key) -> bool:
        """True if a calibration has spoken of it."""
        return rung in self._table

    @property
    def wild(self) -> bool:
        """True while the table is far from what is seen."""
        return not 1.0 / WILD <= self._scale <= WILD
