"""Quality follows the CPU: which rung of the ladder to stand on. Pure: observations and time in, decisions out.

The ladder, cheapest first: the microphone as it is, smaller engines, the levels of the engine that was chosen. Down it
goes at once and as far as the costs say, because every hole is heard; up it goes one rung at a time and with patience,
which doubles when a raise had to be taken back. What counts as trouble is told in `strain`.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pse_stream.dsp.spec import HOP_MS
from pse_stream.streaming.costs import Costs
from pse_stream.streaming.observation import Observation
from pse_stream.streaming.strain import LEAST_MS, SLOW_S, Strain

Mode = Literal["off", "auto", "eco", "quality"]
Cause = Literal["", "too big", "busy", "held up", "room", "power", "wish"]

FIT_SHARE = 0.85  # a rung that is chosen under load must stay this far below the limit
SETTLE_S = 0.25  # after a change two engines run for 0.1 s, and averages must forget
STRIDE_S = 0.8  # between raises of one climb: seven rungs in six seconds
FAILED_S = 6.0  # a raise that is taken back this soon has failed
LAST_PATIENCE_S = 60.0
PROVEN_S = 30.0  # at the top this long without trouble: patience is new
RAISES_PER_MINUTE = 12
ANYWAY = 8.0  # times patience: then a raise is tried although the costs say no, for they may be wrong
FREE_CORES = 0.5  # idle: the load is gone
FREE_S = 1.0  # for so long
SUSPECT_S = 2.5  # what is said of the machine is up to two seconds old
CROWDED_S = 10.0  # patience at the least while it is known that the machine is not free
FUTILE_SHARE = 0.7  # a bypass that leaves this share of the trouble has not helped
FUTILE_S = 60.0  # for so long it is not tried again
BOTH_MS = 8.0  # two engines run while a raise is faded in


@dataclass(frozen=True, slots=True)
class Temper:
    """How a mode behaves."""

    limit_ms: float  # of work and waiting per hop
    patience_s: float  # from trouble to the first raise
    own_s: float  # how long the chosen engine's cheapest level is kept in trouble before others are tried


TEMPERS: dict[Mode, Temper] = {
    "off": Temper(math.inf, math.inf, math.inf),
    "auto": Temper(6.0, 3.0, 0.0),
    "eco": Temper(4.5, 5.0, 0.0),
    "quality": Temper(7.0, 2.0, 2.0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """A place on the ladder."""

    engine: str
    level: int = 0
    name: str  # as people read it
    own: bool = True  # a level of the engine that was chosen

    @property
    def key(self) -> tuple[str, int]:
        """By which its cost is known."""
        return self.engine, self.level


@dataclass(frozen=True, slots=True, kw_only=True)
class Hints:
    """What is known of the machine; everything may be unknown."""

    idle_cores: float | None = None  # not used by anybody but background programs
    saving: str = ""  # why power should be saved, in words; "" if it need not


NO_HINTS = Hints()


@dataclass(frozen=True, slots=True)
class Decision:
    """Where to go now, and why."""

    rung: int
    cause: Cause
    reason: str  # words
    hasty: bool  # down, under load: the old rung must not run on


class Governor:
    """Choose a rung; one governor, one stream.

    Parameters
    ----------
    mode : str
        off: never move. auto. eco: at most half the cost of the best rung. quality: reluctant to go down.
    seed : int or None
        Of the dice that keep two governors on one machine from raising at the same moment.
    """

    def __init__(self, mode: Mode = "auto", *, seed: int | None = None) -> None:
        self.costs = Costs()
        self.mode: Mode = mode
        self.pinned = False
        self.rungs: tuple[Rung, ...] = ()
        self.top = self.index = 0
        self.changes = 0
        self._dice = random.Random(seed)
        self._grown = 1.0  # factor on patience
        self._jitter = self._dice.uniform(1.0, 1.3)
        self._raises: deque[float] = deque()
        self._changed_at = self._troubled_at = -math.inf
        self._climbing = False
        self._crowded = False
        self._hard_stretch = 1.0  # in the last trouble; believed for as long as the machine is not free
        self._free_since: float | None = None
        self._suspect_at: float | None = None  # a raise has failed although the machine was said to be free
        self._misled = False  # and it still is: what is said of the machine says nothing about us
        self._futile_until = -math.inf
        self._bad_before = 0.0  # share of bad hops before the last step down
        self._strain = Strain()

    @property
    def patience_s(self) -> float:
        """How long without trouble until a raise is tried."""
        return min(TEMPERS[self.mode].patience_s * self._grown, LAST_PATIENCE_S) * self._jitter

    def use(self, rungs: Sequence[Rung], *, top: int, index: int, now: float) -> None:
        """Stand on another ladder: another engine, another level asked for, more rungs."""
        moved = not self.rungs or rungs[index].key != self.rungs[self.index].key
        self.rungs, self.top, self.index = tuple(rungs), top, index
        if moved:
            self._land(now)

    def start_anew(self) -> None:
        """A person has chosen: what failed before does not count."""
        self._grown, self._misled, self._futile_until, self._climbing = 1.0, False, -math.inf, False
        self._suspect_at = None
        self._troubled_at = -math.inf

    def look(self, seen: Observation, hints: Hints = NO_HINTS) -> Decision | None:
        """What to do after these hops; whoever asks carries it out before the next look."""
        self._strain.take(seen)
        self._watch_idle(seen, hints)
        if self.mode == "off" or self.pinned:
            return self._go(self.top, seen, "wish", "pinned" if self.pinned else "the governor is off")
        best, why = self._best(hints)
        if self.index > best:
            return self._go(best, seen, "power", why)
        if seen.now - self._changed_at < SETTLE_S:
            return None
        if not seen.silent:
            self.costs.learn(self.rungs[self.index].key, self._strain.cpu_ms)
        return self._lower(seen) or self._raise(seen, best)

    @property
    def _cheapest_own(self) -> int:
        """Index of the chosen engine's cheapest level."""
        return next((at for at, rung in enumerate(self.rungs) if rung.own), 0)

    # --- what is seen -------------------------------------------------------------------------------------------

    def _watch_idle(self, seen: Observation, hints: Hints) -> None:
        """Since when others leave enough of the machine."""
        self._crowded = hints.idle_cores is not None and hints.idle_cores < FREE_CORES
        if hints.idle_cores is None or self._crowded:
            self._free_since = None
        elif self._free_since is None:
            self._free_since = seen.now
            self._suspect_at = None
        elif seen.now - self._free_since > FREE_S:
            self._hard_stretch = 1.0
        if self._suspect_at is not None and seen.now - self._suspect_at > SUSPECT_S:
            self._misled, self._suspect_at = self._misled or self._free_since is not None, None

    def _best(self, hints: Hints) -> tuple[int, str]:
        """The highest rung that the mode allows, and why it is not the top."""
        if self.mode == "eco":
            return self._economic(), "eco: half the cost of the best is enough"
        if self.mode == "auto" and hints.saving:
            return self._economic(), hints.saving
        return self.top, ""

    def _economic(self) -> int:
        """The best rung of the chosen engine at no more than half of the cost of the best, or its cheapest."""
        dear = self._cost(self.top)
        own = [at for at in range(self.top + 1) if self.rungs[at].own]
        if dear is None:
            return own[len(own) // 2]
        cheap = [at for at in own if (cost := self._cost(at)) is not None and cost <= dear / 2]
        return max(cheap, default=own[0])

    # --- down ---------------------------------------------------------------------------------------------------

    def _lower(self, seen: Observation) -> Decision | None:
        cause = self._strain.trouble(seen, TEMPERS[self.mode].limit_ms)
        if not cause:
            return None
        self._troubled_at = seen.now
        if self.index == 0:
            return self._give_up(seen)
        lowest = self._lowest(seen)
        if self.index <= lowest:
            return None
        target = max(self._fitting(cause), lowest)
        if seen.now - self._changed_at < FAILED_S and self._climbing:
            self._fail()
        self._bad_before = self._strain.bad_share
        words = {
            "too big": f"a hop takes {self._strain.cpu_ms:.1f} ms of processor time",
            "busy": f"other programs hold the processor (it waits {self._strain.wait_ms:.1f} ms per hop)",
            "held up": f"hops take {self._strain.span_ms:.0f} ms, more than work and waiting",
        }
        return self._go(target, seen, cause, words[cause], hasty=True)

    def _fitting(self, cause: Cause) -> int:
        """The highest rung below this one whose cost, stretched as now, fits; the lowest if none does."""
        strain = self._strain
        stretch = strain.worst_stretch
        if cause == "held up":
            stretch = max(stretch, strain.span_ms / max(strain.cpu_ms, LEAST_MS))
        self._hard_stretch = stretch
        limit = TEMPERS[self.mode].limit_ms * FIT_SHARE
        costs = [self._cost(at) for at in range(self.index)]
        if any(cost is None for cost in costs):  # nothing is known: halve
            return self.index // 2
        return max((at for at, cost in enumerate(costs) if cost is not None and cost * stretch <= limit), default=0)

    def _lowest(self, seen: Observation) -> int:
        """How far down it may go: other engines only after the chosen one's cheapest level was tried."""
        own = self._cheapest_own
        if self.index > own or seen.now < self._futile_until:
            return own
        return 0 if seen.now - self._changed_at >= TEMPERS[self.mode].own_s else own

    def _give_up(self, seen: Observation) -> Decision | None:
        """In trouble on the lowest rung: if it is as bad as before, the noise removal was given up for nothing."""
        if seen.now - self._changed_at < SLOW_S or self._strain.bad_share < FUTILE_SHARE * self._bad_before:
            return None
        self._futile_until = seen.now + FUTILE_S
        return self._go(self._cheapest_own, seen, "busy", "no better without noise removal; only priority would help")

    def _fail(self) -> None:
        """The last raise had to be taken back."""
        base = TEMPERS[self.mode].patience_s
        self._grown = min(2.0 * self._grown, LAST_PATIENCE_S / base)
        if self._suspect_at is None and self._free_since is not None:
            self._suspect_at = self._troubled_at

    # --- up -----------------------------------------------------------------------------------------------------

    def _raise(self, seen: Observation, best: int) -> Decision | None:
        calm_s = seen.now - max(self._changed_at, self._troubled_at)
        if self.index >= best:
            if calm_s > PROVEN_S:
                self._grown, self._misled, self._climbing = 1.0, False, False
            return None
        target, patience = self.index + 1, self._needed_calm()
        if calm_s < patience or not self._strain.calm(seen.now):
            return None
        if not self._has_room(target) and calm_s < ANYWAY * max(patience, self.patience_s):
            return None
        while self._raises and seen.now - self._raises[0] > 60.0:
            self._raises.popleft()
        if len(self._raises) >= RAISES_PER_MINUTE:
            return None
        self._raises.append(seen.now)
        self._climbing = True
        self._jitter = self._dice.uniform(1.0, 1.3)
        cost = self._cost(target)
        need = "" if cost is None else f", {cost:.1f} ms of {HOP_MS:.0f} are needed"
        return self._go(target, seen, "room", f"calm for {calm_s:.0f} s{need}")

    def _needed_calm(self) -> float:
        """Seconds without trouble until the next raise."""
        freed = self._free_since is not None and not self._misled
        patience = TEMPERS[self.mode].patience_s * self._jitter if freed else self.patience_s
        if self._crowded:
            return max(patience, CROWDED_S * self._jitter)
        if self._climbing and self._changed_at > self._troubled_at:  # the last raise has gone well
            return STRIDE_S if freed or self._grown == 1.0 else max(STRIDE_S, patience / 4.0)
        return patience

    def _has_room(self, target: int) -> bool:
        """Whether the costs say that a rung fits, and the fade to it."""
        cost, own = self._cost(target), self._strain.cpu_ms
        if cost is None:
            return True
        stretch = max(1.0, self._strain.stretch, self._hard_stretch if self._crowded else 1.0)
        return cost * stretch <= 0.95 * TEMPERS[self.mode].limit_ms and (cost + own) * stretch <= BOTH_MS

    def _cost(self, at: int) -> float | None:
        """Of a rung, ms per hop; a level between two that are known lies between them."""
        known = self.costs.of(self.rungs[at].key)
        if known is not None or not self.rungs[at].own:
            return known
        marks = [(other, cost) for other, rung in enumerate(self.rungs) if rung.own
                 and (cost := self.costs.of(rung.key)) is not None]  # fmt: skip
        below = max((mark for mark in marks if mark[0] < at), default=None)
        above = min((mark for mark in marks if mark[0] > at), default=None)
        if below is None or above is None:
            return None
        return below[1] + (above[1] - below[1]) * (at - below[0]) / (above[0] - below[0])

    # --- both ---------------------------------------------------------------------------------------------------

    def _go(self, target: int, seen: Observation, cause: Cause, why: str, *, hasty: bool = False) -> Decision | None:
        if target == self.index:
            return None
        old, new = self.rungs[self.index], self.rungs[target]
        if target < self.index:
            self._climbing = False
        self.index = target
        self._land(seen.now)
        self.changes += 1
        return Decision(target, cause, f"{old.name} -> {new.name}: {why}", hasty)

    def _land(self, now: float) -> None:
        self._changed_at = now
        self._strain.forget()
