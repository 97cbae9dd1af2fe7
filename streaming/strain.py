"""What is the matter, if anything: observations of one rung, averaged, and the trouble they amount to. Pure.

Two troubles are told apart:

- *too big*: our own CPU time per hop is too high for this computer; only a cheaper rung helps, now and later.
- *busy*: our thread waits for a core, because other programs run. A scheduler gives each program its share, and serves
  one that takes less than its share almost at once: so a cheaper rung helps here too, as long as the load lasts.

A third, *held up*, is time that is neither: it takes longer to be believed. Holes with none of the three are the
devices', and no rung helps against them. One stall, however long, is no trouble.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Literal

from pse_stream.dsp.spec import HOP_MS, HOPS_PER_SECOND
from pse_stream.streaming.observation import Observation

Trouble = Literal["", "too big", "busy", "held up"]

# Shares are bad hops (late or missing) of all hops.
QUICK_S, QUICK_SHARE = 0.3, 0.25  # averaged over this long; a lone stall of 60 ms does not reach it
SLOW_S, SLOW_SHARE = 4.0, 0.03  # one hole in 33 hops is one in every other 1/8 s
STRETCH_S = 2.0
CALM_LOOKS = 2  # of the 62 in SLOW_S
APART_S = 0.1  # two bad looks this far apart: not one stall
STRAIN_S = 0.25  # work and waiting above the limit for this long, before anything is bad
BUSY_MS = 0.3  # run-queue wait per hop; idle machines show 0.006, one hog 0.13, two hogs 0.9
HELD_S = 0.6  # time that is neither work nor waiting must be lost for this long
NEAR = 0.85  # of the limit: work that is so close to it is too big by itself
LEAST_MS = 0.05  # of work: the stretch of less is noise


class Strain:
    """Of one rung; forget it when another runs."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Averages of one rung say nothing of another."""
        self.cpu_ms = self.wait_ms = self.span_ms = 0.0  # per hop, over QUICK_S
        self.stretch = 1.0  # how much longer things take than our CPU time, over STRETCH_S
        self.slow_share = 0.0  # of bad hops, over SLOW_S
        self._quick_share = 0.0
        self._looks, self._seconds = 0, 0.0
        self._bad_at: deque[float] = deque()  # when looks were bad, over SLOW_S
        self._strained_at: float | None = None
        self._held_at: float | None = None

    @property
    def bad_share(self) -> float:
        """Bad hops of all hops since the last change, the older ones counting less."""
        return self.slow_share / max(_weight(self._seconds, SLOW_S), 1e-3)

    @property
    def worst_stretch(self) -> float:
        """How much longer than our CPU time a hop takes, lately or over two seconds."""
        return max(self.stretch, (self.cpu_ms + self.wait_ms) / max(self.cpu_ms, LEAST_MS), 1.0)

    def calm(self, now: float) -> bool:
        """True if hardly a look was bad lately; averages would still tell of a load that has gone."""
        return sum(now - at < SLOW_S for at in self._bad_at) <= CALM_LOOKS

    def take(self, seen: Observation) -> None:
        """One more look."""
        elapsed = max(seen.seconds, seen.hops / HOPS_PER_SECOND)
        self._looks, self._seconds = self._looks + 1, self._seconds + elapsed
        share = min(1.0, seen.bad / max(seen.hops, elapsed * HOPS_PER_SECOND))
        self._quick_share += _weight(elapsed, QUICK_S) * (share - self._quick_share)
        self.slow_share += _weight(elapsed, SLOW_S) * (share - self.slow_share)
        if seen.bad:
            self._bad_at.append(seen.now)
        weight = max(_weight(elapsed, QUICK_S), 1.0 / self._looks)
        self.cpu_ms += weight * (seen.cpu_ms - self.cpu_ms)
        self.wait_ms += weight * (seen.wait_ms - self.wait_ms)
        self.span_ms += weight * (seen.span_ms - self.span_ms)
        stretch = (seen.cpu_ms + seen.wait_ms) / max(seen.cpu_ms, LEAST_MS)
        self.stretch += _weight(elapsed, STRETCH_S) * (stretch - self.stretch)

    def trouble(self, seen: Observation, limit_ms: float) -> Trouble:
        """What is the matter after the look that was just taken.

        Parameters
        ----------
        seen : Observation
            That look.
        limit_ms : float
            Of work and waiting per hop.
        """
        strained = seen.cpu_ms + seen.wait_ms > limit_ms  # of this look alone: a long stall lingers in the averages
        self._strained_at = (self._strained_at or seen.now) if strained else None
        if not self._bad(seen.now) and (self._strained_at is None or seen.now - self._strained_at < STRAIN_S):
            self._held_at = None
            return ""
        if self.cpu_ms > max(limit_ms * NEAR, 2.0 * self.wait_ms):
            return "too big"
        if self.wait_ms > BUSY_MS or (self.stretch - 1.0) * self.cpu_ms > BUSY_MS:
            return "busy"
        held = self.span_ms - self.cpu_ms - self.wait_ms > HOP_MS / 2
        self._held_at = (self._held_at or seen.now) if held else None
        return "held up" if self._held_at is not None and seen.now - self._held_at >= HELD_S else ""

    def _bad(self, now: float) -> bool:
        """Much for a moment, or some again and again; never one stall, however long."""
        while self._bad_at and now - self._bad_at[0] > SLOW_S:
            self._bad_at.popleft()
        if not self._bad_at or self._bad_at[-1] - self._bad_at[0] < APART_S:
            return False
        lately = sum(now - at < 2.0 * QUICK_S for at in self._bad_at) > 1
        again = len(self._bad_at) > CALM_LOOKS
        return (self._quick_share > QUICK_SHARE and lately) or (self.slow_share > SLOW_SHARE and again)


def _weight(elapsed_s: float, constant_s: float) -> float:
    """Of a new figure in an exponential average."""
    return 1.0 - math.exp(-elapsed_s / constant_s)
