"""Changes between engines: no share ever jumps, the newest wish wins, and within 100 ms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pse_stream.dsp.spec import ENGINE_BINS, HOP_MS, Complex64s
from pse_stream.engines.bypass import BypassEngine
from pse_stream.engines.handover import CHANGE_HOPS, WARM_HOPS, Handover

MAX_STEP = 0.26  # the steepest step of a raised cosine over six hops is 0.2588


class GainEngine(BypassEngine):
    """Multiplies; gives silence for as long as it looks ahead, as if its frames were on their way."""

    def __init__(self, gain: float, *, lookahead_hops: int = 0) -> None:
        super().__init__()
        self.info = replace(BypassEngine.info, lookahead_hops=lookahead_hops)
        self.gain, self.steps, self.resets = gain, 0, 0

    def reset(self) -> None:
        self.steps = 0
        self.resets += 1

    def step(self, frame: Complex64s, out: Complex64s, level: int) -> None:
        self.steps += 1
        out[:] = frame * np.float32(self.gain if self.steps > self.info.lookahead_hops else 0.0)


FRAME = np.full(ENGINE_BINS, 1 + 1j, np.complex64)


def hear(handover: Handover, hops: int) -> np.ndarray:
    """Gain of each of the next hops; every other hop in place."""
    gains = []
    for t in range(hops):
        frame = FRAME.copy()
        out = frame if t % 2 else np.empty_like(frame)
        handover.step(frame, out)
        gains.append(out[3].real)
    return np.array(gains)


def test_a_change_takes_at_most_100_ms() -> None:
    assert CHANGE_HOPS * HOP_MS <= 100.0


def test_a_change_warms_up_unheard_then_fades() -> None:
    handover = Handover(GainEngine(0.0), 0)
    hear(handover, 3)
    handover.to_engine(GainEngine(1.0), 0)
    gains = hear(handover, CHANGE_HOPS)
    assert not gains[:WARM_HOPS].any()
    assert (np.diff(gains[WARM_HOPS - 1 :]) > 0.0).all()
    assert gains[-1] == 1.0
    assert not handover.switching


def test_the_newest_wish_is_told_at_once() -> None:
    handover, newcomer = Handover(GainEngine(0.0), 0), GainEngine(1.0)
    handover.to_engine(newcomer, 2)
    assert (handover.engine, handover.level, handover.switching) == (newcomer, 2, True)
    handover.to_level(1)
    assert handover.level == 1


def test_a_change_of_level_counts_as_switching_until_the_engine_must_be_done() -> None:
    handover = Handover(GainEngine(0.0), 0)
    handover.to_level(0)
    assert not handover.switching
    handover.to_level(1)
    hear(handover, CHANGE_HOPS - 1)
    assert handover.switching
    hear(handover, 1)
    assert not handover.switching


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 20)), min_size=1, max_size=40))
def test_no_sequence_of_wishes_jumps(wishes: list[tuple[int, int]]) -> None:
    """(which engine, hops until the next wish): the gain never steps further than a plain fade would."""
    engines = [GainEngine(gain) for gain in (0.0, 1.0, 0.3, 0.6)]
    handover = Handover(engines[0], 0)
    gains = [np.zeros(1)]
    for which, hops in wishes:
        handover.to_engine(engines[which], 0)
        gains.append(hear(handover, hops))
    gains.append(hear(handover, CHANGE_HOPS))
    assert np.abs(np.diff(np.concatenate(gains))).max() < MAX_STEP
    assert gains[-1][-1] == pytest.approx(engines[wishes[-1][0]].gain)
    assert not handover.switching


def test_a_thousand_random_changes_never_jump() -> None:
    rng = np.random.default_rng(1)
    engines = [GainEngine(gain) for gain in (0.0, 1.0, 0.5)]
    handover = Handover(engines[0], 0)
    gains = []
    for _ in range(1000):
        handover.to_engine(engines[rng.integers(3)], 0)
        gains.append(hear(handover, int(rng.integers(1, 16))))
    assert np.abs(np.diff(np.concatenate(gains))).max() < MAX_STEP


def test_at_most_three_engines_run_at_a_time() -> None:
    rng = np.random.default_rng(2)
    engines = [GainEngine(float(k)) for k in range(8)]
    handover = Handover(engines[0], 0)
    for _ in range(300):
        handover.to_engine(engines[rng.integers(8)], 0)
        before = [engine.steps for engine in engines]
        hear(handover, 1)
        assert sum(engine.steps > b for engine, b in zip(engines, before, strict=True)) <= 3
        hear(handover, int(rng.integers(0, 14)))


def test_going_back_during_the_fade_turns_it_round() -> None:
    first, second = GainEngine(0.0), GainEngine(1.0)
    handover = Handover(first, 0)
    handover.to_engine(second, 0)
    hear(handover, WARM_HOPS + 2)
    handover.to_engine(first, 0)
    gains = hear(handover, 4)
    assert gains[-1] == 0.0
    assert (np.diff(gains) < 0.0).sum() >= 1
    assert first.resets == 0


def test_an_engine_that_comes_back_later_starts_afresh() -> None:
    first, second = GainEngine(0.0), GainEngine(1.0)
    handover = Handover(first, 0)
    handover.to_engine(second, 0)
    hear(handover, CHANGE_HOPS)
    handover.to_engine(first, 0)
    assert (first.resets, second.resets) == (1, 1)


def test_an_engine_that_looks_ahead_is_not_heard_before_it_speaks() -> None:
    handover = Handover(GainEngine(1.0), 0)
    handover.to_engine(GainEngine(1.0, lookahead_hops=9), 0)
    assert hear(handover, CHANGE_HOPS + 9).min() == pytest.approx(1.0)
    assert not handover.switching


def test_lookaheads_move_with_the_fade() -> None:
    handover = Handover(GainEngine(1.0), 0)
    assert handover.lookaheads == ((0, 1.0),)
    handover.to_engine(GainEngine(1.0, lookahead_hops=2), 0)
    hear(handover, WARM_HOPS + 2)
    assert handover.lookaheads == ((0, 1.0),)
    hear(handover, 3)
    assert handover.lookaheads == ((0, pytest.approx(0.5)), (2, pytest.approx(0.5)))
    hear(handover, 3)
    assert handover.lookaheads == ((2, 1.0),)


def test_reset_completes_a_change() -> None:
    handover = Handover(GainEngine(0.0), 0)
    handover.to_engine(GainEngine(1.0), 0)
    handover.reset()
    assert hear(handover, 1)[0] == 1.0
