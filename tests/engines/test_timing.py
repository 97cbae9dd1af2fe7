"""engines/timing.py: what costs more is found to cost more, in turns."""

from __future__ import annotations

import numpy as np

from pse_stream.dsp.spec import Complex64s
from pse_stream.engines.bypass import BypassEngine
from pse_stream.engines.timing import ROUND_HOPS, step_costs_ms


class _Busy(BypassEngine):
    """Does arithmetic in proportion to its level."""

    played: list[int]

    def step(self, frame: Complex64s, out: Complex64s, level: int) -> None:
        self.played.append(level)
        for _ in range(20 * level):
            out[:] = np.sqrt(np.abs(frame) + 1.0)


def test_dearer_levels_cost_more_and_all_take_turns() -> None:
    engine = _Busy()
    engine.played = []
    cheap, dear = step_costs_ms([(engine, 1), (engine, 4)], hops=ROUND_HOPS + 1)
    assert 0.0 < 1.5 * cheap < dear
    assert engine.played[::ROUND_HOPS] == [1, 4, 1, 4]


class _NowAndThen(_Busy):
    """Computes every fifth frame only, and looks like an idle one in most."""

    def reset(self) -> None:
        self.played = []

    def step(self, frame: Complex64s, out: Complex64s, level: int) -> None:
        super().step(frame, out, level if len(self.played) % 5 == 0 else 0)


def test_frames_that_cost_more_count_too() -> None:
    engines = [_NowAndThen(), _NowAndThen()]
    for engine in engines:
        engine.reset()
    rarely, never = step_costs_ms([(engines[0], 8), (engines[1], 0)], hops=ROUND_HOPS * 3)
    assert rarely > 2.0 * never
