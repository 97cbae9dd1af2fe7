"""How much sound should wait."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pse_stream.streaming.cushion import GROWTH_S, HOLES, MARGIN_S, MOST_S, QUIET_S, WITHIN_S, Cushion

HOP_S, SLACK_S = 0.008, 0.003


@given(phase=st.floats(-1.0, 1.0))
def test_the_level_leaves_the_slack_and_no_more_than_a_hop_above_it(phase: float) -> None:
    level = Cushion(HOP_S, SLACK_S).level(phase)
    assert SLACK_S + MARGIN_S - 1e-9 <= level <= SLACK_S + MARGIN_S + HOP_S + 1e-9
    # A whole number of hops beside the phase: what is between two hops protects nobody.
    hops = (level - MARGIN_S - phase) / HOP_S
    assert hops == pytest.approx(round(hops), abs=1e-6)


def test_two_clocks_go_through_every_phase_so_the_worst_one_counts() -> None:
    cushion = Cushion(HOP_S, SLACK_S)
    assert cushion.rotating_level == pytest.approx(max(cushion.level(p / 1000 * HOP_S) for p in range(1000)), abs=1e-4)


def test_holes_that_are_a_habit_widen_the_cushion_up_to_a_bound_and_quiet_minutes_narrow_it() -> None:
    cushion = Cushion(HOP_S, SLACK_S)
    assert [cushion.look(1, float(second)) for second in range(HOLES)] == [False] * (HOLES - 1) + [True]
    assert cushion.slack_s == pytest.approx(SLACK_S + GROWTH_S)
    for second in range(60):
        cushion.look(1, 10.0 + second)
    assert cushion.slack_s == pytest.approx(SLACK_S + MOST_S)
    assert not cushion.look(0, 69.0 + QUIET_S - 1)
    for minute in range(20):
        cushion.look(0, 70.0 + QUIET_S * (minute + 1))
    assert cushion.slack_s == pytest.approx(SLACK_S)


def test_a_hole_now_and_then_is_cheaper_than_a_longer_delay() -> None:
    cushion = Cushion(HOP_S, SLACK_S)
    for count in range(100):
        assert not cushion.look(1, count * (WITHIN_S / 2 + 1.0))
    assert cushion.slack_s == SLACK_S


def test_holes_within_a_second_are_one_disturbance() -> None:
    cushion = Cushion(HOP_S, SLACK_S)
    for burst in (0.0, 0.2, 0.4, 0.6, 0.8, 5.0, 5.3, 5.9):
        assert not cushion.look(1, burst)
    assert cushion.look(1, 10.0) and cushion.slack_s == pytest.approx(SLACK_S + GROWTH_S)


def test_a_long_stall_widens_nothing_because_no_cushion_would_have_helped() -> None:
    cushion = Cushion(HOP_S, SLACK_S)
    assert not cushion.look(12, 0.0)
    assert cushion.slack_s == SLACK_S
