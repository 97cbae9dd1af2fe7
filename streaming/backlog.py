"""How much sound waits between the callbacks, and how much of it to throw away.

After any stall the input has gone on, so more sound waits than before, and without a policy the delay stays longer
for ever (the ratchet). Pure: levels and times in, seconds to drop out; the runner does the dropping (`splice`).

- The *lowest* level of a whole second stands above the target: drop the excess, a hop at most, cross-faded. While an
  excess lasts, look again every quarter of a second, so that any delay below the limit is back within five seconds.
- More than 100 ms behind: drop to the target at once.
"""

from __future__ import annotations

from dataclasses import dataclass

WINDOW_S = 1.0  # jitter of callbacks is shorter than this; an excess that lasts this long is an excess
NEXT_WINDOW_S = 0.25  # once an excess is known: 12 hops are gone in 1 + 11 * 0.25 s < 5 s
BEHIND_S = 0.100  # past this nobody can talk; what was said is given up for what is said
EXCESS_S = 0.0015  # less is not worth a cut


@dataclass(frozen=True, slots=True)
class Drop:
    """What to throw away now."""

    seconds: float
    reset: bool  # so much that the engine should forget the past


NOTHING = Drop(0.0, False)


class Backlog:
    """Watch the level of waiting sound; say what to drop.

    Parameters
    ----------
    hop_s : float
        Seconds per hop.
    target_s : float
        How much sound should wait between the callbacks; may be set at any time.
    """

    def __init__(self, hop_s: float, target_s: float) -> None:
        self.hop_s, self.target_s = hop_s, target_s
        self.least_s = EXCESS_S  # what counts as an excess; more where something else takes care of the rest
        self._lowest = float("inf")
        self._until: float | None = None

    def look(self, level_s: float, now: float) -> Drop:
        """What to drop, given how much sound waits now; call once per hop."""
        if level_s - self.target_s > BEHIND_S:
            self.restart(now)
            return Drop(level_s - self.target_s, True)
        if self._until is None:
            self.restart(now)
        self._lowest = min(self._lowest, level_s)
        if self._until is None or now < self._until:
            return NOTHING
        excess = self._lowest - self.target_s
        self._lowest = float("inf")
        self._until = now + (NEXT_WINDOW_S if excess > self.hop_s else WINDOW_S)
        return Drop(min(excess, self.hop_s), False) if excess >= self.least_s else NOTHING

    def restart(self, now: float) -> None:
        """Begin a new second, after a drop or a stall."""
        self._lowest, self._until = float("inf"), now + WINDOW_S
