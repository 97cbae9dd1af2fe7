"""What the governor needs from outside the worker: calibration, engines that stand in, hints, and a log of decisions.

Nothing of it is in a hurry and nothing may disturb the sound: it looks once a second from the watchdog's thread, and
what takes long happens in a thread of its own that mostly waits for a child process.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable

from pse_stream.engines.contract import Engine
from pse_stream.engines.registry import EngineEntry
from pse_stream.errors import PseError
from pse_stream.streaming.calibration import Calibration
from pse_stream.streaming.cost_cache import CostCache, fingerprint, folder_of
from pse_stream.streaming.costs import Key
from pse_stream.streaming.governor import Hints
from pse_stream.streaming.ladder import BYPASS, candidates, stand_ins
from pse_stream.streaming.runner import Runner

log = logging.getLogger(__name__)

AFTER_S = 3.0  # sound flows for this long before anything is measured
WILD_S = 10.0  # costs that are far off for this long are measured again
AGAIN_S = 600.0  # but not more often than this


class Overseer:
    """Look after one governor.

    Parameters
    ----------
    runner : Runner
    rate : int
        Hz, of the sound.
    engines : callable
        Opens an engine by id.
    entries : callable or None
        The engines of this installation; None: nothing is measured, and nothing stands in.
    hold : callable
        Keeps an engine from being freed on the worker's thread.
    note : callable
        Told of every decision, as a sentence.
    hints : callable or None
        What is known of the machine, given the time; None: nothing.
    cache : CostCache or None
        None: that of this user and machine.
    measure : callable or None
        (rate, ids) to costs; None: a child process.
    """

    def __init__(
        self,
        runner: Runner,
        *,
        rate: int,
        engines: Callable[[str], Engine],
        entries: Callable[[], Iterable[EngineEntry]] | None,
        hold: Callable[[Engine], None],
        note: Callable[[str], None],
        hints: Callable[[float], Hints] | None = None,
        cache: CostCache | None = None,
        measure: Callable[[int, Iterable[str]], dict[Key, float]] | None = None,
    ) -> None:
        self._runner, self._rate, self._engines, self._entries = runner, rate, engines, entries
        self._hold, self._note = hold, note
        self._hints = hints
        self._cache = cache
        self._calibration = Calibration()
        self._measure = measure or self._calibration.measure
        self._thread: threading.Thread | None = None
        self._asked: Engine | None = None  # calibrated for, or being so
        self._flowing_since: float | None = None
        self._wild_since: float | None = None
        self._measured_at = float("-inf")
        self._ended = False

    def tick(self, now: float) -> None:
        """Ten times a second at most; from one thread."""
        steering = self._runner.steering
        while steering.decisions:
            self._note(f"governor: {steering.decisions.popleft().reason}")
        if self._ended:
            return
        if self._hints is not None:
            steering.hints = self._hints(now)
        if self._entries is None or steering.chosen.info.id == BYPASS:  # below nothing there is nothing
            return
        if not self._runner.report.flowing:
            self._flowing_since = None
        elif self._flowing_since is None:
            self._flowing_since = now
        if self._cache is None:
            self._cache = CostCache(self._rate)
        self._watch_costs(self._cache, now)
        ready = self._flowing_since is not None and now - self._flowing_since >= AFTER_S
        if ready and self._asked is not steering.chosen and (self._thread is None or not self._thread.is_alive()):
            self._asked = steering.chosen
            self._thread = threading.Thread(
                target=self._calibrate, args=(steering.chosen, self._cache, now), name="pse-calibrator", daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        """No more; a measurement under way is given up."""
        self._ended = True
        self._calibration.end()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(2.0)

    def _watch_costs(self, cache: CostCache, now: float) -> None:
        """Costs that are far from what is seen: forget them and measure again."""
        steering = self._runner.steering
        if not steering.governor.costs.wild:
            self._wild_since = None
        elif self._wild_since is None:
            self._wild_since = now
        elif now - self._wild_since > WILD_S and now - self._measured_at > AGAIN_S and self._asked is steering.chosen:
            log.info("the costs of %s are far from what is seen; measured again", steering.chosen.info.id)
            cache.forget(steering.chosen.info.id, fingerprint(steering.chosen.info, folder_of(steering.chosen)))
            self._asked, self._measured_at = None, now

    def _calibrate(self, chosen: Engine, cache: CostCache, now: float) -> None:
        """In a thread of its own: costs, then engines, then to the worker."""
        try:
            self._prepare(chosen, cache, now)
        except Exception:  # sound goes on without a calibration
            log.exception("the calibration failed")

    def _prepare(self, chosen: Engine, cache: CostCache, now: float) -> None:
        assert self._entries is not None
        entries = [entry for entry in self._entries() if entry.info is not None]
        choices = candidates(entries, chosen.info)
        folders = {entry.id: entry.source for entry in entries if entry.origin in ("package", "user")}
        marks = {info.id: fingerprint(info, folders.get(info.id)) for info in choices}
        marks[chosen.info.id] = fingerprint(chosen.info, folder_of(chosen))
        marks[BYPASS] = "1"
        costs: dict[Key, float] = {}
        for id, mark in marks.items():
            costs |= cache.read(id, mark)
        wanted = [id for id in (chosen.info.id, BYPASS, *(info.id for info in choices)) if (id, 0) not in costs]
        if wanted:
            measured = self._measure(self._rate, wanted)
            for id in wanted:
                cache.write(id, marks[id], measured)
            costs |= measured
        others = []
        for info in stand_ins(choices, chosen.info, costs.get):
            try:
                others.append(self._engines(info.id))
            except PseError as error:
                log.warning("%s cannot stand in: %s", info.id, error)
        for engine in others:
            self._hold(engine)
        if not self._ended:
            steering = self._runner.steering
            self._runner.post(lambda _pipeline, _hop: steering.adopt(chosen.info.id, costs, others, now))
