"""When an engine is too slow for the computer: take it out, and try it again later. Pure.

Half of the hops of a second late means a voice full of holes; the microphone as it is serves better. The first new try
comes after half a minute, each further one after twice as long, so that a computer that is busy for an hour does not
stutter every half minute of it.
"""

from __future__ import annotations

from typing import Literal

SHARE_PER_HOP = 1 / 60  # averages over half a second
TOO_LATE = 0.5  # of the hops
FIRST_TRY_S, LAST_TRY_S = 30.0, 480.0
PROVEN_S = 60.0  # running this long after a try, it counts as well again


class Relief:
    """Watch whether hops are late; say when to take the engine out and when to try it again."""

    def __init__(self) -> None:
        self._late = 0.0  # share of late hops, averaged
        self._pause_s = FIRST_TRY_S
        self._try_at: float | None = None
        self._tried_at: float | None = None

    def look(self, late: bool, now: float) -> Literal["nothing", "take out", "try again"]:
        """What to do after this hop."""
        if self._try_at is not None:
            if now < self._try_at:
                return "nothing"
            self._try_at, self._tried_at, self._late = None, now, 0.0
            return "try again"
        self._late += SHARE_PER_HOP * (late - self._late)
        if self._tried_at is not None and now - self._tried_at > PROVEN_S:
            self._tried_at, self._pause_s = None, FIRST_TRY_S
        if self._late < TOO_LATE:
            return "nothing"
        self._try_at = now + self._pause_s
        self._pause_s = min(2.0 * self._pause_s, LAST_TRY_S)
        return "take out"

    def reset(self) -> None:
        """Another engine: nothing is known of it."""
        self._late, self._pause_s, self._try_at, self._tried_at = 0.0, FIRST_TRY_S, None, None
