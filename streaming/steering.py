"""The governor's hands: from hops to observations, from decisions to changes of the pipeline. The worker's thread only.

What a person asked for (engine, level, pin) is the top of the ladder; what runs is somewhere on it. A step down under
load is hasty: the dear engine stops at once, and its last gains are held while the cheap one finds its feet.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pse_stream.engines.bypass import BypassEngine
from pse_stream.engines.contract import Engine
from pse_stream.errors import EngineError
from pse_stream.streaming.governor import Decision, Governor, Hints, Mode, Rung
from pse_stream.streaming.ladder import BYPASS, rungs
from pse_stream.streaming.observation import HopLog, Observation
from pse_stream.streaming.pipeline import Pipeline
from pse_stream.streaming.run_queue import RunQueue
from pse_stream.streaming.snapshot import GovernorStatus

DECISIONS_KEPT = 8  # until the watchdog has put them into the log


@dataclass(frozen=True, slots=True)
class Clocks:
    """Where the worker's time goes; under simulated time it goes nowhere by itself."""

    cpu_s: Callable[[], float]
    waited_s: Callable[[], float | None]

    @staticmethod
    def real() -> Clocks:
        """Of the thread that asks."""
        return Clocks(time.thread_time, RunQueue().waited_s)

    @staticmethod
    def simulated(now: Callable[[], float]) -> Clocks:
        """All simulated time that passes in a hop is work."""
        return Clocks(now, lambda: 0.0)


class Steering:
    """Move one pipeline along its ladder.

    Parameters
    ----------
    pipeline : Pipeline
        Plays the chosen engine at the level that was asked for.
    mode, pinned
        As set (`Settings.governor`, `Settings.level_pinned`).
    seed : int or None
        See `Governor`.
    """

    def __init__(
        self, pipeline: Pipeline, *, mode: Mode = "auto", pinned: bool = False, seed: int | None = None
    ) -> None:
        self.governor = Governor(mode, seed=seed)
        self.governor.pinned = pinned
        self.hints = Hints()  # swapped in by the watchdog
        self.decisions: deque[Decision] = deque(maxlen=DECISIONS_KEPT)  # emptied by the watchdog
        self._pipeline = pipeline
        self._log = HopLog()
        self._others: list[Engine] = []  # stand-ins, cheapest first
        self._said: Decision | None = None
        self._said_at = 0.0
        self._resting = False  # the engine has failed
        self._choose(pipeline.engine, pipeline.level, 0.0)

    @property
    def chosen(self) -> Engine:
        """The engine that was asked for; it may not be the one that runs."""
        return self._chosen

    @property
    def standing_in(self) -> bool:
        """True while another engine runs than the one that was chosen, because that is too much for now."""
        return not self._rung.own and not self._resting

    @property
    def trouble(self) -> str:
        """Why another engine runs than the chosen one, in words; "" if it does not."""
        if not self.standing_in or self._said is None:
            return ""
        what = "you are heard without noise removal" if self._rung.engine == BYPASS else f"{self._rung.name} stands in"
        return f"{self._said.reason.split(': ', 1)[-1]}; {what} for {self._chosen.info.id}"

    @property
    def status(self) -> GovernorStatus:
        """For the snapshot."""
        governor, said = self.governor, self._said
        return GovernorStatus(
            rung=self._rung.name,
            index=governor.index,
            count=len(governor.rungs),
            top=governor.top,
            levels=len(self._chosen.info.levels),
            cause=said.cause if said is not None else "",
            reason=said.reason if said is not None else "",
            decided=self._said_at,
            changes=governor.changes,
            calibrated=governor.costs.known(governor.rungs[governor.top].key),
        )

    # --- what is asked for --------------------------------------------------------------------------------------

    def use_engine(self, engine: Engine, level: int | None, pinned: bool, now: float) -> None:
        """Another engine was chosen; what stood in for the old one is let go."""
        self._pipeline.set_engine(engine, level)
        self._others = []
        self.governor.pinned = pinned
        self.governor.start_anew()
        self._choose(engine, self._pipeline.level, now)

    def use_level(self, level: int | None, pinned: bool, now: float) -> None:
        """Another level was asked for: it runs at once, also where the governor had gone below it.

        Raises
        ------
        EngineError
            If the engine has no such level.
        """
        best = self._chosen.info.best_level
        wanted = best if level is None else level
        if not 0 <= wanted <= best:
            said = f"engine {self._chosen.info.id!r} has no level {wanted}; expected 0 (cheapest) to {best}"
            raise EngineError(said, name="bad_level")
        self.governor.pinned = pinned
        self.governor.start_anew()
        if self.standing_in and not pinned:  # it will come back at this level
            self._lay(wanted, self._rung.key, now)
            return
        if self.standing_in:
            self._pipeline.set_engine(self._chosen, wanted)
        else:
            self._pipeline.set_level(wanted)
        self._choose(self._chosen, wanted, now)

    def use_mode(self, mode: Mode) -> None:
        """Another mode; the next look acts on it."""
        self.governor.mode = mode
        self.governor.start_anew()

    def adopt(
        self, engine_id: str, costs: Mapping[tuple[str, int], float], others: Sequence[Engine], now: float
    ) -> None:
        """What a calibration has found for one chosen engine: costs, and engines that may stand in for it."""
        self.governor.costs.calibrate(costs)
        if engine_id != self._chosen.info.id:  # another was chosen in the meantime
            return
        running = [engine for engine in self._others if engine.info.id == self._rung.engine]
        known = {engine.info.id for engine in others}
        self._others = [*(engine for engine in running if engine.info.id not in known), *others]
        self._lay(self._top_level, self._rung.key, now)

    def rest(self) -> None:
        """The engine failed and is out: there is nothing to govern until another is chosen."""
        self._resting = True

    # --- what is seen -------------------------------------------------------------------------------------------

    def restart(self) -> None:
        """Sound begins, or has stopped: what was collected says nothing."""
        self._log.restart()

    def hop(
        self, *, came: float, began: float, ended: float, cpu_s: float, waited_s: float | None, holes: int, silent: bool
    ) -> bool:
        """One hop is done; True if something was changed."""
        seen = self._log.hop(
            came=came, began=began, ended=ended, cpu_s=cpu_s, waited_s=waited_s, holes=holes, silent=silent
        )
        return seen is not None and not self._resting and self._look(seen)

    def _look(self, seen: Observation) -> bool:
        before = self._rung
        decision = self.governor.look(seen, self.hints)
        if decision is None:
            return False
        self._carry_out(before, self._rung, decision.hasty)
        self._said, self._said_at = decision, seen.now
        self.decisions.append(decision)
        return True

    def _carry_out(self, old: Rung, new: Rung, hasty: bool) -> None:
        if new.engine == old.engine:
            self._pipeline.set_level(new.level)
        else:
            self._pipeline.set_engine(self._engine(new.engine), new.level, hasty=hasty)

    # --- the ladder ---------------------------------------------------------------------------------------------

    @property
    def _rung(self) -> Rung:
        return self.governor.rungs[self.governor.index]

    @property
    def _top_level(self) -> int:
        return self.governor.rungs[self.governor.top].level

    def _choose(self, engine: Engine, level: int, now: float) -> None:
        self._chosen, self._resting = engine, False
        self._nothing = BypassEngine(engine.info.lookahead_hops)
        self._said = None
        self._lay(level, (engine.info.id, level), now)

    def _lay(self, level: int, stand: tuple[str, int], now: float) -> None:
        """Build the ladder with `level` of the chosen engine on top, and stand on the rung of this key."""
        made = rungs(self._chosen.info, [engine.info for engine in self._others])
        keys = [rung.key for rung in made]
        top = keys.index((self._chosen.info.id, level))
        self.governor.use(made, top=top, index=min(keys.index(stand), top), now=now)

    def _engine(self, id: str) -> Engine:
        if id == self._chosen.info.id:
            return self._chosen
        if id == BYPASS:
            return self._nothing
        return next(engine for engine in self._others if engine.info.id == id)
