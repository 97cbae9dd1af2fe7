"""Which rungs there are: the levels of the chosen engine, smaller engines below them, and no engine at all.

A smaller engine is worth a rung if it costs clearly less than what stands above it, was measured better than the noisy
microphone, and looks no further ahead (the delay must not jump under load). Of those that fit the best one is taken;
other people's code (plug-ins) is never run unasked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pse_stream.engines.contract import EngineInfo
from pse_stream.engines.registry import EngineEntry
from pse_stream.streaming.governor import Rung

BYPASS = "bypass"
CHEAPER = 0.7  # of the cost of the rung above: less saving is not worth less quality
STAND_INS = 2  # at most; each is an engine in memory
RANKED_BY = "pesq"  # of the figures in `EngineInfo.quality`: the one that all our engines have been measured by
GAINS_BY = "si_sdr_i"  # above zero: better than nothing

#: CPU milliseconds per hop by (engine id, level); None if unknown.
CostOf = Callable[[tuple[str, int]], float | None]


def candidates(entries: Iterable[EngineEntry], chosen: EngineInfo) -> list[EngineInfo]:
    """Engines that could stand in for `chosen`, if they are cheaper; the best first."""
    found = [
        entry.info
        for entry in entries
        if entry.info is not None
        and entry.origin != "plug-in"
        and entry.id not in (chosen.id, BYPASS)
        and entry.info.lookahead_hops == chosen.lookahead_hops
        and entry.info.quality.get(GAINS_BY, 0.0) > 0.0
        and RANKED_BY in entry.info.quality
    ]
    return sorted(found, key=lambda info: info.quality[RANKED_BY], reverse=True)


def stand_ins(choices: Iterable[EngineInfo], chosen: EngineInfo, cost_of: CostOf) -> list[EngineInfo]:
    """Those that get a rung, cheapest first; none while costs are unknown."""
    above, floor = cost_of((chosen.id, 0)), cost_of((BYPASS, 0))
    if above is None or floor is None:
        return []
    taken: list[EngineInfo] = []
    for info in choices:
        cost = cost_of((info.id, info.best_level))
        if cost is not None and floor / CHEAPER <= cost <= CHEAPER * above and len(taken) < STAND_INS:
            taken.insert(0, info)
            above = cost
    return taken


def rungs(chosen: EngineInfo, others: Iterable[EngineInfo]) -> tuple[Rung, ...]:
    """The ladder, cheapest first; `others` in this order too."""
    made = [] if chosen.id == BYPASS else [Rung(engine=BYPASS, name="no noise removal", own=False)]
    made += [Rung(engine=info.id, level=info.best_level, name=info.id, own=False) for info in others]
    single = len(chosen.levels) == 1
    made += [
        Rung(engine=chosen.id, level=at, name=chosen.id if single else f"{chosen.id} {at} ({level.name})")
        for at, level in enumerate(chosen.levels)
    ]
    return tuple(made)
