"""How much sound should wait between the two callbacks, and no more.

Both sides move whole hops, so what protects against a late hop is not the amount that waits but how long before it is
asked for a hop is ready. With the ask coming `phase` after the record (0 to 8 ms, by luck, the same for hours when both
devices share a clock), a buffer of `phase` gives `phase` of slack and a buffer of `phase` + 8 ms gives a hop more:
the smallest of them that leaves enough slack is right. Two clocks that drift go through every phase: then one constant
level, a hop above the slack, is right.

The slack grows when holes are heard again and again, up to a hop more, and shrinks after two quiet minutes. A single
hole is cheaper than a longer delay from then on.
"""

from __future__ import annotations

from collections import deque

GROWTH_S, MOST_S = 0.002, 0.008  # at a time; in all
HOLES, WITHIN_S = 3, 20.0  # so many in this time are a habit
STALL_HOLES = 2
APART_S = 1.0  # holes closer together are one disturbance: a program that has just taken the processor, say
QUIET_S = 120.0
#: On top of everything: the interpolator of the drift correction keeps 20 samples to itself when it begins, and its
#: ratio ripples; without this the first block after it would be short.
MARGIN_S = 0.0006


class Cushion:
    """Choose the level.

    Parameters
    ----------
    hop_s : float
        Seconds per hop.
    slack_s : float
        How late a hop may come at the least: computing, waking up, jitter.
    """

    def __init__(self, hop_s: float, slack_s: float) -> None:
        self.hop_s, self.least_s = hop_s, slack_s
        self.slack_s = slack_s
        self._since: float | None = None  # of the last change
        self._heard: deque[float] = deque(maxlen=HOLES)  # when holes were heard

    def level(self, phase_s: float) -> float:
        """The level for two devices on one clock; `phase_s` modulo a hop."""
        return self.slack_s + (phase_s - self.slack_s) % self.hop_s + MARGIN_S

    def wants(self, level_s: float, tolerance_s: float) -> bool:
        """Whether there is a phase for which `level` would ask for this much, give or take `tolerance_s`."""
        above_s = level_s - self.slack_s - MARGIN_S
        return -tolerance_s <= above_s <= self.hop_s + tolerance_s

    @property
    def rotating_level(self) -> float:
        """The level for two clocks."""
        return self.slack_s + self.hop_s + MARGIN_S

    def look(self, holes: int, now: float) -> bool:
        """True if the slack has changed, given how many holes were heard since the last look.

        Several at once are one long stall, against which no cushion helps; several within a second count as one.
        """
        if 0 < holes <= STALL_HOLES and not (self._heard and now - self._heard[-1] < APART_S):
            self._heard.append(now)
        if len(self._heard) == HOLES and now - self._heard[0] < WITHIN_S:
            self._heard.clear()
            grown = min(self.slack_s + GROWTH_S, self.least_s + MOST_S)
        elif self._since is not None and now - max((self._since, *self._heard)) >= QUIET_S:
            grown = max(self.slack_s - GROWTH_S, self.least_s)
        else:
            return False
        changed = grown != self.slack_s
        self.slack_s, self._since = grown, now if grown > self.least_s else None
        return changed
