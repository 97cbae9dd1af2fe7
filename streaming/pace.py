"""The time between the two callbacks: when sound may pass, how much of it should wait, how fast, and what is too much.

Everything comes from two pairs of numbers that the callbacks leave behind: samples recorded and when, samples asked
for and when. Pure but for the clock that is handed in. The parts: `cushion` (how much should wait), `drift` (two
clocks), `backlog` (too much). The arithmetic of their level:

    level = samples between the callbacks / rate + time of the last ask - time of the last record

which does not depend on when one looks, because both sides are carried on to the same moment.
"""

from __future__ import annotations

import cmath
import math
from collections import deque
from collections.abc import Callable
from statistics import median

from pse_stream.dsp.spec import HOPS_PER_SECOND
from pse_stream.streaming.backlog import EXCESS_S, Backlog, Drop
from pse_stream.streaming.cushion import Cushion
from pse_stream.streaming.drift import Drift
from pse_stream.streaming.inlet import Inlet
from pse_stream.streaming.outlet import Outlet

HOP_S = 1.0 / HOPS_PER_SECOND
AGAIN_HOPS = 2  # to settle after the first time: somebody waits for the sound, and the phase is followed anyway
STEADY_S = HOP_S / 2  # a burst shows as steps of a hop
UNSTEADY_S = 0.4  # callbacks that still come in bursts after this long always will
STALE_S = 5 * HOP_S  # a side that has not called for this long tells nothing about its clock
COARSE_S = 0.75 * HOP_S  # where the drift correction leads the level, only what it cannot is dropped
SWINGING_S = 0.375 * HOP_S  # where the level swings by itself: bursts are not on time to the millisecond
SHOWN_SHARE = 0.02  # per hop, of a new level: what people see does not flicker
PHASE_SHARE = 0.008  # per hop, of a new phase: averages over a second
PHASE_STEP_S = 0.0003  # a phase that moved less is the same
REST_S = 4  # whole seconds at one phase
ROUND_S = 0.0005  # past the range of levels that a phase can want: it has gone all the way round


class Pace:
    """Judge the time between one inlet and one outlet; from the worker's thread alone.

    Parameters
    ----------
    sample_rate : int
        Hz.
    settle_hops : int
        Callbacks to watch before their phase is trusted; 0 where the output asks right after the input recorded.
    slack_s : float
        How late a hop may come (`Cushion`).
    now : callable
        The device's clock.
    """

    def __init__(self, sample_rate: int, settle_hops: int, slack_s: float, now: Callable[[], float]) -> None:
        self.rate = sample_rate
        self.level_s = 0.0  # smoothed
        self.phase_s = 0.0  # from a record to the next ask, modulo a hop
        self._settle, self._now = settle_hops, now
        self._cushion = Cushion(HOP_S, slack_s)
        self._backlog = Backlog(HOP_S, self._cushion.rotating_level)
        self._drift = Drift(HOP_S, self._cushion.rotating_level)
        self._flows: deque[float] = deque(maxlen=max(1, settle_hops))  # see `settle`
        self._flowing_since = 0.0
        self._watched = (0, 0)  # callbacks of both sides at the last restart
        self._phasor = 0j  # the phase as an angle, averaged
        self._phases: deque[float] = deque(maxlen=REST_S)  # of the last seconds
        self._rotating = False  # the phase goes round and round, whatever the clocks do
        self._holes = 0  # underruns seen
        self._seen = 0  # hops since settled

    @property
    def drift_ppm(self) -> float:
        """How much faster the input's clock runs."""
        return self._drift.ppm

    @property
    def target_s(self) -> float:
        """How much sound should wait."""
        return self._backlog.target_s

    @property
    def seen_hops(self) -> int:
        """Hops since the streams have settled; the more, the surer is the phase."""
        return self._seen

    @property
    def luck_hops(self) -> float:
        """How much more must wait than with the best phase, in hops, 0 to 1."""
        return (self._cushion.level(_phase_s(self._phasor)) - self._cushion.slack_s) / HOP_S

    def restart(self, inlet: Inlet, outlet: Outlet) -> None:
        """Both sides must settle anew: after a pause, a stall, another device."""
        self._watched = (inlet.blocks, outlet.blocks)
        self._flows.clear()
        self._phases.clear()
        self._rotating = False
        self._seen = 0
        self._backlog.restart(self._now())
        self._drift.freeze()
        self._holes = outlet.underruns

    def settle(self, inlet: Inlet, outlet: Outlet) -> int | None:
        """How much must wait between the callbacks for sound to begin, in samples; None while the phase is unknown.

        With W samples recorded and R asked for, W - R + rate * (time of the last ask - time of the last record) is
        the same at every look but for jitter; from its median follows how much must wait now.
        """
        recorded, came = inlet.mark
        asked, _, went = outlet.mark
        if outlet.blocks == self._watched[1] and self._settle == 0:
            went = came - HOP_S  # a device that asks right after it recorded: as if it had asked one hop ago
        if not self._flows:
            self._flowing_since = self._now()
        self._flows.append((recorded - asked) / self.rate + went - came)
        if not self._settled(inlet, outlet):
            return None
        self._settle = min(self._settle, AGAIN_HOPS)
        flow = median(self._flows)
        self.phase_s = flow % HOP_S  # whole hops recorded and asked for do not count
        self._phasor = _angle(flow)
        self._aim()
        self.level_s = self.target_s
        self._backlog.restart(self._now())
        return recorded - asked + round((self.target_s - flow) * self.rate)

    def _settled(self, inlet: Inlet, outlet: Outlet) -> bool:
        """True once both sides have called often enough, and steadily or for long enough."""
        seen = min(inlet.blocks - self._watched[0], outlet.blocks - self._watched[1])
        if seen < self._settle or len(self._flows) < self._settle:
            return False
        return max(self._flows) - min(self._flows) < STEADY_S or self._now() - self._flowing_since > UNSTEADY_S

    def excess(self, inlet: Inlet, outlet: Outlet) -> Drop:
        """What to drop before the hop that was just computed is handed on."""
        waiting, came, went = self._waiting(inlet, outlet)
        now = self._now()
        # A side that does not call is taken to flow for a hop at most: what waits for it does wait.
        level = waiting / self.rate + HOP_S + min(now - came, HOP_S) - min(now - went, HOP_S)
        drop = self._backlog.look(level, now)
        if drop.seconds > 0.0:
            self._drift.freeze()
        return drop

    def ratio(self, inlet: Inlet, outlet: Outlet) -> float:
        """Output samples per input sample for this hop; exactly 1 while the clocks agree."""
        waiting, came, went = self._waiting(inlet, outlet)
        now = self._now()
        level = waiting / self.rate + HOP_S + went - came
        self.level_s += SHOWN_SHARE * (level - self.level_s)
        holes = outlet.underruns - self._holes
        self._holes += holes
        if now - min(came, went) > STALE_S or holes:
            self._drift.freeze()
        self._seen += 1
        share = max(PHASE_SHARE, 1.0 / (self._seen + len(self._flows)))
        self._phasor += share * (_angle(went - came) - self._phasor)
        rotating = self._drift.needed
        ratio = self._drift.look(level)
        moved = self._seen % HOPS_PER_SECOND == 0 and self._follow_phase()
        if self._cushion.look(holes, now) or rotating != self._drift.needed or moved:
            self._aim()
        return ratio

    def _waiting(self, inlet: Inlet, outlet: Outlet) -> tuple[int, float, float]:
        """Samples between the callbacks, and when each side called last; each side's pair is of one moment."""
        written, came = inlet.mark
        _, read, went = outlet.mark
        return (written - inlet.ring.read_count) + (outlet.ring.written - read), came, went

    def _follow_phase(self) -> bool:
        """Once a second: lead the target along with the phase; True if another level is wanted from now on.

        Two clocks that differ take level and phase along together, which is no excess; and the target must not fall
        by a hop when a wandering phase passes the point from which another hop would do. But a sound server whose
        blocks are a little longer than a hop turns the phase without end, and gives two hops at once now and then:
        there the level comes back by itself, and a target that went on would ask for less than nothing. Then the
        level for two clocks is right, until the phase rests.
        """
        phase_s = _phase_s(self._phasor)
        turning = not self._drift.needed and not self._rotating
        if turning:
            self._backlog.target_s += _turn(self._phases[-1] if self._phases else self.phase_s, phase_s)
            self._rotating = not self._cushion.wants(self.target_s, ROUND_S)
        resting = len(self._phases) == REST_S and all(abs(_turn(old, phase_s)) < PHASE_STEP_S for old in self._phases)
        self._phases.append(phase_s)
        self.phase_s = phase_s
        if resting:
            self._rotating = False
            return abs(self._cushion.level(phase_s) - self.target_s) > PHASE_STEP_S
        return turning and self._rotating

    def _aim(self) -> None:
        """Tell everybody what level is wanted."""
        if self._drift.needed:
            level, least = self._cushion.rotating_level, COARSE_S
        elif self._rotating:  # the lowest point of the swing is not met to the millisecond either
            level, least = self._cushion.rotating_level + SWINGING_S / 2, SWINGING_S
        else:
            level, least = self._cushion.level(self.phase_s), EXCESS_S
        self._backlog.target_s = self._drift.target_s = level
        self._backlog.least_s = least


def _angle(phase_s: float) -> complex:
    return cmath.exp(2j * math.pi * phase_s / HOP_S)


def _turn(before_s: float, after_s: float) -> float:
    """The way from one phase to another, the shorter way round."""
    return (after_s - before_s + HOP_S / 2) % HOP_S - HOP_S / 2


def _phase_s(angle: complex) -> float:
    return cmath.phase(angle) / (2.0 * math.pi) * HOP_S % HOP_S
