"""A computer made of arithmetic, for tests of the governor: a core that is shared, hops that cost, holes that follow.

Each hop of 8 ms brings `cost` of work and gets the core for a share of the time. A scheduler gives a program that asks
for no more than its share nearly all it asks for at once; one that asks for more waits, and what is late is a hole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from pse_stream.streaming.governor import NO_HINTS, Decision, Governor, Hints, Rung
from pse_stream.streaming.observation import LOOK_HOPS, Observation

HOP_MS = 8.0
BEHIND_MS = 100.0
FADE_HOPS = 12  # of a raise: two engines run

LADDER = (
    Rung(engine="bypass", name="no noise removal", own=False),
    Rung(engine="small", name="small", own=False),
    *(Rung(engine="net", level=level, name=f"net {level}") for level in range(5)),
)
COSTS = {("bypass", 0): 0.4, ("small", 0): 0.7} | {("net", level): 1.0 + 0.8 * level for level in range(5)}
TOP = len(LADDER) - 1


@dataclass
class Program:
    """One denoiser on a simulated core."""

    governor: Governor
    costs: dict[tuple[str, int], float] = field(default_factory=lambda: dict(COSTS))
    shows_wait: bool = True  # the system counts the run queue
    now: float = 0.0
    debt_ms: float = 0.0  # how late it is
    holes: int = 0
    decisions: list[tuple[float, Decision]] = field(default_factory=list)
    holes_at: list[float] = field(default_factory=list)
    _fading: tuple[float, int] = (0.0, 0)  # cost of the other engine, hops left

    @property
    def cost_ms(self) -> float:
        """Of the next hop."""
        rung = self.governor.rungs[self.governor.index]
        return self.costs[rung.key] + (self._fading[0] if self._fading[1] else 0.0)

    def look(self, share: float, jitter: np.random.Generator, *, silent: bool = False, hints: Hints = NO_HINTS) -> None:
        """Eight hops with this share of a core; then the governor looks."""
        cpu = wait = span = 0.0
        late = holes = 0
        scatter = jitter.uniform(0.95, 1.1, LOOK_HOPS).tolist()
        delays = jitter.exponential(0.02 + 0.1 * (1.0 - share), LOOK_HOPS).tolist()
        for factor, delay in zip(scatter, delays, strict=True):
            cost = 0.05 if silent else self.cost_ms * factor
            taken = delay + (cost / share if cost > share * HOP_MS else cost * (1.0 + 0.2 * (1.0 - share)))
            cpu, wait, span = cpu + cost, wait + taken - cost, span + taken
            late += taken > HOP_MS
            self.debt_ms = min(max(0.0, self.debt_ms + taken - HOP_MS), BEHIND_MS)  # the rest is dropped
            if self.debt_ms > HOP_MS:
                holes, self.debt_ms = holes + 1, self.debt_ms - HOP_MS
            self._fading = (self._fading[0], max(0, self._fading[1] - 1))
        seconds = LOOK_HOPS * HOP_MS / 1000.0
        self.now += seconds
        self.holes += holes
        self.holes_at += [self.now] * holes
        seen = Observation(
            now=self.now,
            seconds=seconds,
            hops=LOOK_HOPS,
            cpu_ms=cpu / LOOK_HOPS,
            wait_ms=(wait if self.shows_wait else max(0.0, span - cpu)) / LOOK_HOPS,
            span_ms=span / LOOK_HOPS,
            late=late,
            holes=holes,
            silent=silent,
        )
        before = self.governor.rungs[self.governor.index]
        decision = self.governor.look(seen, hints)
        if decision is not None:
            self.decisions.append((self.now, decision))
            self._fading = (0.0, 0) if decision.hasty else (self.costs[before.key], FADE_HOPS)

    def run(
        self,
        seconds: float,
        share: float | Callable[[float], float],
        *,
        seed: int = 0,
        hints: Callable[[float], Hints] = lambda _share: NO_HINTS,
        silent: bool = False,
    ) -> None:
        """Let time pass; `share` of the core, or a function of the time."""
        jitter = np.random.default_rng(seed)
        end = self.now + seconds
        while self.now < end:
            given = share(self.now) if callable(share) else share
            self.look(given, jitter, silent=silent, hints=hints(given))

    @property
    def path(self) -> list[int]:
        """The rungs it went to."""
        return [decision.rung for _, decision in self.decisions]


def program(*, mode: str = "auto", calibrated: float | None = 1.0, seed: int = 1, **fields: object) -> Program:
    """On the top of the ladder; `calibrated`: the factor by which the table of costs is wrong, None: there is none."""
    governor = Governor(mode, seed=seed)  # type: ignore[arg-type]
    governor.use(LADDER, top=TOP, index=TOP, now=0.0)
    if calibrated is not None:
        governor.costs.calibrate({key: cost * calibrated for key, cost in COSTS.items()})
    return Program(governor, **fields)  # type: ignore[arg-type]


def idle(share: float) -> Hints:
    """What the machine says of itself on two cores that are both this free."""
    return Hints(idle_cores=2.0 if share >= 1.0 else 0.0)


def shared(programs: Sequence[Program], seconds: float, capacity: float, *, seed: int = 0) -> None:
    """Several on one core: what one takes the others lack."""
    jitter = np.random.default_rng(seed)
    end = programs[0].now + seconds
    while programs[0].now < end:
        wanted = [one.cost_ms / HOP_MS for one in programs]
        fair = capacity / len(programs)
        for one, own in zip(programs, wanted, strict=True):
            left = capacity - sum(wanted) + own
            one.look(min(1.0, max(fair, left, 0.05)), jitter)
