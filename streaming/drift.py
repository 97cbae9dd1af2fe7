"""Two clocks: from how much sound waits between two devices to how much faster one must be read.

A microphone and a virtual microphone run on two crystals; 100 ppm are a hop every 80 s, so without a correction the
buffer runs dry or full. A delay-locked loop of second order follows the level (Adriaensen 2005, "Using a DLL to filter
time"; zita-ajbridge is the reference design): ratio = 1 + Kp e + Ki integral of e dt, e = low-pass(level - target),
Kp = 2 zeta omega, Ki = omega^2, e in seconds.

The level must come from the time stamps of the callbacks; whole blocks are coarser than what is looked for.
Pure: levels in, a ratio out. The interpolator is `dsp.resample.VariableRate`.
"""

from __future__ import annotations

import math

ZETA = 0.8
BAND_HZ, BAND_LOW_PASS = 0.02, 0.02  # settled: 6 ppm of ripple at 1 ms of jitter; low-pass per hop
FAST_HZ, FAST_LOW_PASS, FAST_S = 0.05, 0.05, 20.0  # until it has settled
MAX_RATIO = 0.005  # a level that is wrong by much comes back at 0.5 %: not quite a tenth of a semitone
MAX_CLOCK = 0.001  # no crystal is further off than 1000 ppm; the integral stops there
#: The interpolator stays out, and the sound bit for bit the same, until a slow average of the level has wandered this
#: far from where it stood: 2 ppm take twenty minutes to get there, two devices on one clock never do.
NEEDED_S, SLOW_LOW_PASS, SETTLED_S = 0.0025, 0.004, 4.0
#: How fast the level is led to another target: told to the loop beforehand, so that it does not take the way there for
#: a clock. Half a cent of pitch.
GLIDE = 0.0003
FROZEN_HOPS = 25  # after a stall or a drop: time stamps mean nothing for a while


class Drift:
    """Follow one pair of clocks.

    Parameters
    ----------
    hop_s : float
        Seconds between looks.
    target_s : float
        How much sound should wait; may be set at any time.
    """

    def __init__(self, hop_s: float, target_s: float) -> None:
        self.hop_s, self.target_s = hop_s, target_s
        self.needed = False  # once True it stays: switching the interpolator would be heard
        self._aim_s = target_s  # on its way to `target_s`
        self._error = 0.0  # low-passed level - aim, seconds
        self._slow = 0.0  # the level, slowly averaged, to decide whether a correction is needed
        self._stood = 0.0  # what it was when it had settled
        self._looks = 0  # since the level last jumped
        self._clock = 0.0  # the integral: how much faster the input's clock is
        self._frozen = 0  # looks to ignore
        self._age_s = 0.0  # since the correction began

    @property
    def ppm(self) -> float:
        """How much faster the input's clock runs than the output's, as far as is known."""
        return self._clock * 1e6

    def look(self, level_s: float) -> float:
        """Output samples per input sample, given the level; call once per hop.

        Exactly 1 until a correction is needed.
        """
        if self._frozen:
            self._frozen -= 1
            return 1.0 / (1.0 + self._clock)
        if not self.needed:
            self._watch(level_s)
            return 1.0
        fast = self._age_s < FAST_S
        self._age_s += self.hop_s
        glide = _clip((self.target_s - self._aim_s) / self.hop_s, GLIDE)
        self._aim_s += glide * self.hop_s
        self._error += (FAST_LOW_PASS if fast else BAND_LOW_PASS) * (level_s - self._aim_s - self._error)
        omega = 2.0 * math.pi * (FAST_HZ if fast else BAND_HZ)
        self._clock = _clip(self._clock + omega * omega * self._error * self.hop_s, MAX_CLOCK)
        return 1.0 / (1.0 + _clip(2.0 * ZETA * omega * self._error + self._clock - glide, MAX_RATIO))

    def freeze(self) -> None:
        """The level jumped (a stall, a drop, a pause): keep what is known of the clocks, forget the level."""
        self._frozen, self._looks = FROZEN_HOPS, 0
        self._error = 0.0

    def _watch(self, level_s: float) -> None:
        """Decide whether the clocks differ, and by how much to begin with."""
        self._looks += 1
        age_s = self._looks * self.hop_s
        # The share falls from 1 to its final value: an average that has no beginning to forget.
        self._slow += max(SLOW_LOW_PASS, 1.0 / self._looks) * (level_s - self._slow)
        if age_s < SETTLED_S:
            self._stood = self._slow
            return
        wandered = self._slow - self._stood
        if abs(wandered) > NEEDED_S:
            self.needed, self._aim_s = True, self._slow
            self._clock = _clip(wandered / (age_s - SETTLED_S + self.hop_s), MAX_CLOCK)


def _clip(value: float, limit: float) -> float:
    return min(max(value, -limit), limit)
