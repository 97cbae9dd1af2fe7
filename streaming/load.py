"""What a hop costs: the worker's own CPU time, and what it waits for a core.

The two together tell "our work is too heavy" from "somebody else wants the CPU": CPU time up with the wait flat is the
engine, the wait up is another program (Linux: /proc/thread-self/schedstat, second figure, nanoseconds).
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from pse_stream.dsp.spec import HOPS_PER_SECOND
from pse_stream.streaming.snapshot import Load

WINDOW_HOPS = 5 * HOPS_PER_SECOND  # percentiles over five seconds
REFRESH_S = 1.0
_SCHEDSTAT = Path("/proc/thread-self/schedstat")


class LoadMeter:
    """Collect hops; a fresh `Load` once a second. Used from the worker's thread alone."""

    def __init__(self) -> None:
        self.load = Load()
        self._hops_ms = np.zeros(WINDOW_HOPS, np.float32)  # (WINDOW_HOPS,) ring of CPU times
        self._count = 0
        self._counted = 0  # hops at the last refresh
        self._waited_ns = _run_queue_ns()
        self._cpu_s, self._wall_s = time.process_time(), time.monotonic()

    def hop(self, cpu_s: float) -> None:
        """One more hop; may refresh `load`."""
        self._hops_ms[self._count % WINDOW_HOPS] = cpu_s * 1000.0
        self._count += 1
        if self._count % HOPS_PER_SECOND == 0:
            self.refresh()

    def refresh(self) -> None:
        """Compute `load` now."""
        recent = self._hops_ms[: min(self._count, WINDOW_HOPS)]
        waited, cpu, wall = _run_queue_ns(), time.process_time(), time.monotonic()
        hops, elapsed = max(1, self._count - self._counted), max(1e-3, wall - self._wall_s)
        self.load = Load(
            hop_ms_mean=float(recent.mean()) if len(recent) else 0.0,
            hop_ms_p99=float(np.percentile(recent, 99)) if len(recent) else 0.0,
            run_queue_ms=(waited - self._waited_ns) / 1e6 / hops,
            cpu_percent=100.0 * (cpu - self._cpu_s) / elapsed,
        )
        self._counted, self._waited_ns = self._count, waited
        self._cpu_s, self._wall_s = cpu, wall


def _run_queue_ns() -> int:
    """How long this thread has waited for a core since it began; 0 where the system does not say."""
    try:
        return int(_SCHEDSTAT.read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
