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
from statistics import fmean, linear_regression, median

ZETA = 0.8
BAND_HZ, BAND_LOW_PASS = 0.02, 0.02  # settled: 6 ppm of ripple at 1 ms of jitter; low-pass per hop
FAST_HZ, FAST_LOW_PASS, FAST_S = 0.05, 0.05, 20.0  # until it has settled
MAX_RATIO = 0.005  # a level that is wrong by much comes back at 0.5 %: not quite a tenth of a semitone
MAX_CLOCK = 0.001  # no crystal is further off than 1000 ppm; the integral stops there
#: The interpolator stays out, and the sound bit for bit the same, until the level has wandered this far in a straight
#: line. A computer that becomes busy moves it too, but in steps: for a step the residual of the line is a sixth of the
#: way, so a tenth is asked for. 200 ppm take 13 s to show, 2 ppm twenty minutes.
NEEDED_S, STRAIGHT = 0.0025, 0.1
#: Two crystals are seldom 200 ppm apart. A steeper line is a sawtooth: a sound server whose blocks are a little longer
#: or shorter than a hop moves the level by a hop and lets it jump back, over and over (`pace`).
LIKELY_CLOCK = 0.0004
FEWEST_POINTS, MOST_POINTS = 8, 1800  # seconds, one point each
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
        self._second: list[float] = []  # levels of the second that goes on
        self._points: list[float] = []  # medians of the seconds since the level last jumped
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
        self._frozen = FROZEN_HOPS
        self._second.clear()
        self._points.clear()
        self._error = 0.0

    def _watch(self, level_s: float) -> None:
        """Decide whether the clocks differ, and by how much to begin with."""
        self._second.append(level_s)
        if len(self._second) * self.hop_s < 1.0:
            return
        self._points.append(median(self._second))
        self._second.clear()
        if len(self._points) < FEWEST_POINTS:
            return
        slope, residual = line(self._points)
        way = abs(slope) * len(self._points)
        if way > NEEDED_S and residual < STRAIGHT * way and abs(slope) <= LIKELY_CLOCK:
            self.needed, self._aim_s = True, self._points[-1]
            self._clock = _clip(slope, MAX_CLOCK)  # seconds per second
            self._points.clear()
        elif len(self._points) >= MOST_POINTS:
            del self._points[: MOST_POINTS // 2]


def line(points: list[float]) -> tuple[float, float]:
    """The straight line through equidistant points: slope per point, and the standard deviation from it."""
    slope, _ = linear_regression(range(len(points)), points)
    middle, mean = (len(points) - 1) / 2.0, fmean(points)
    return slope, math.sqrt(fmean((y - mean - slope * (x - middle)) ** 2 for x, y in enumerate(points)))


def _clip(value: float, limit: float) -> float:
    return min(max(value, -limit), limit)
