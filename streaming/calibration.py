"""Measure what engines cost on this machine, in a process of its own.

In the process that carries sound it would compete for the interpreter, and one thread that holds it does more harm
than four busy programs. So a child of low priority plays noise through the whole pipeline, one hop every 8 ms as in
life, and writes a line for each level; whatever was said before it ended, or was ended, counts.

    python -m pse_stream.streaming.calibration 48000 gru-256 wiener bypass
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterable

from pse_stream.streaming.cost_cache import sound
from pse_stream.streaming.costs import Key

log = logging.getLogger(__name__)

MEASURED_HOPS = 60  # 0.8 s for each level, with those that warm it up
PATIENCE_S = 30.0  # for everything; a busy machine gives a background process little
NICENESS = 10


class Calibration:
    """One child that measures; may be ended at any time, from any thread."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[str] | None = None
        self._ended = False

    def measure(self, rate: int, ids: Iterable[str], *, patience_s: float = PATIENCE_S) -> dict[Key, float]:
        """CPU milliseconds per hop by engine and level; what could not be measured is missing. Never raises.

        Parameters
        ----------
        rate : int
            Hz, of the grid.
        ids : iterable of str
            Engines, the most wanted first.
        patience_s : float
            After this the child is ended.
        """
        words = [sys.executable, "-m", "pse_stream.streaming.calibration", str(rate), *ids]
        try:
            child = self._child = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
        except OSError as error:
            log.warning("the costs of engines cannot be measured: %s", error)
            return {}
        if self._ended:
            child.kill()
        end = threading.Timer(patience_s, child.kill)
        end.daemon = True
        end.start()
        assert child.stdout is not None
        with child.stdout:
            costs = dict(row for line in child.stdout if (row := _row(line)) is not None)
        end.cancel()
        child.wait()
        return sound(costs)

    def end(self) -> None:
        """No more; what was measured so far is given."""
        self._ended = True
        if self._child is not None:
            self._child.kill()


def _row(line: str) -> tuple[Key, float] | None:
    words = line.split()
    try:
        return ((words[0], int(words[1])), float(words[2])) if len(words) == 3 else None
    except ValueError:
        return None


def main(words: list[str]) -> None:
    """The child: a line "ENGINE LEVEL MS" for each level of each engine."""
    if hasattr(os, "nice"):
        os.nice(max(NICENESS - os.nice(0), 0))  # whatever the parent has
    from pse_stream.profiles.adapted import open_engine
    from pse_stream.streaming.health.cost import hop_cost

    rate, *ids = words
    for id in ids:
        try:
            engine = open_engine(id)
        except Exception:  # plug-ins too; the parent has other means to say so
            continue
        for level in range(len(engine.info.levels)):
            cost = hop_cost(engine, level=level, rate=int(rate), hops=MEASURED_HOPS, paced=True)
            print(engine.info.id, level, f"{cost.median_ms:.4f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
