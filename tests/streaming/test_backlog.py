"""When to drop, and how much."""

from __future__ import annotations

import pytest

from pse_stream.streaming.backlog import NOTHING, Backlog, Drop

HOP_S, TARGET_S = 0.008, 0.010


def drops(level_of: list[float]) -> list[tuple[int, Drop]]:
    """Every drop that is ordered; what was ordered leaves the level."""
    backlog, taken, found = Backlog(HOP_S, TARGET_S), 0.0, []
    for hop, level in enumerate(level_of):
        drop = backlog.look(level - taken, hop * HOP_S)
        if drop != NOTHING:
            taken += drop.seconds
            found.append((hop, drop))
    return found


def test_the_target_with_jitter_of_a_hop_is_left_alone() -> None:
    assert drops([TARGET_S + HOP_S * (hop % 2) for hop in range(2000)]) == []


def test_what_is_too_much_for_a_second_is_dropped_once_and_exactly() -> None:
    found = drops([TARGET_S + 0.006] * 1000)
    assert [drop.seconds for _, drop in found] == [pytest.approx(0.006)]
    assert 120 <= found[0][0] <= 135


def test_s22_eleven_hops_too_many_are_gone_within_five_seconds_a_hop_at_a_time() -> None:
    found = drops([TARGET_S + 11 * HOP_S] * 1000)
    assert sum(drop.seconds for _, drop in found) == pytest.approx(11 * HOP_S)
    assert max(drop.seconds for _, drop in found) <= HOP_S
    assert found[-1][0] * HOP_S < 5.0


def test_far_behind_is_dropped_at_once_and_the_engine_forgets() -> None:
    found = drops([TARGET_S] * 10 + [TARGET_S + 0.5] * 300)
    assert [(hop, drop.reset) for hop, drop in found] == [(10, True)]
    assert found[0][1].seconds == pytest.approx(0.5)


def test_a_level_that_returns_by_itself_within_the_second_costs_nothing() -> None:
    burst = [TARGET_S + 5 * HOP_S] * 60 + [TARGET_S] * 10
    assert drops(burst * 20) == []
