"""Rate limits: a bucket of tokens that fills with time."""

from __future__ import annotations


class TokenBucket:
    """`rate` tokens a second, at most `burst` at once; time comes in as an argument (monotonic seconds)."""

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate = rate
        self.burst = burst
        self._tokens = burst
        self._at = now

    def take(self, now: float) -> bool:
        """True, and one token less, if there is one."""
        self._fill(now)
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def give(self, tokens: float) -> None:
        """Put back what was taken too much."""
        self._tokens = min(self.burst, self._tokens + tokens)

    def wait_s(self, now: float) -> float:
        """Seconds until there is a token; 0 if there is one."""
        self._fill(now)
        return max(0.0, (1.0 - self._tokens) / self.rate)

    def _fill(self, now: float) -> None:
        # A clock that went backwards adds nothing and takes nothing.
        self._tokens = min(self.burst, self._tokens + max(0.0, now - self._at) * self.rate)
        self._at = now
