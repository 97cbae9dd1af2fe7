"""The governor on traces: load steps, cycles, wrong costs, people who pin, neighbours, lone stalls."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pse_stream.streaming.governor import (
    LAST_PATIENCE_S,
    PROVEN_S,
    RAISES_PER_MINUTE,
    SETTLE_S,
    Governor,
    Hints,
    Rung,
)
from pse_stream.streaming.observation import Observation

from .machines import COSTS, LADDER, TOP, idle, program, shared

LOADED = 0.2  # of the core is left: a load step from 0 to 80 %


@pytest.mark.parametrize("calibrated", [1.0, 0.1, 10.0, None])
@pytest.mark.parametrize("shows_wait", [True, False])
def test_a_load_step_costs_at_most_two_switches_and_half_a_second(calibrated: float | None, shows_wait: bool) -> None:
    one = program(calibrated=calibrated, shows_wait=shows_wait)
    one.run(10.0, 1.0, hints=idle)
    assert one.path == []
    began = one.now
    one.run(30.0, LOADED, hints=idle)
    assert 1 <= len(one.path) <= 2
    assert one.governor.index < TOP
    assert [at for at in one.holes_at if at > began + 0.5] == []


def test_without_a_governor_the_same_load_is_all_holes() -> None:
    one = program(mode="off")
    one.run(30.0, LOADED, hints=idle)
    assert one.path == []
    assert one.holes > 3000


def test_quality_is_back_within_ten_seconds_one_rung_at_a_time() -> None:
    one = program()
    one.run(30.0, 0.07, hints=idle)  # so little that only the cheapest rungs fit
    low = one.governor.index
    assert low <= 1
    began, downs = one.now, len(one.decisions)
    one.run(10.0, 1.0, hints=idle)
    assert one.path[downs:] == list(range(low + 1, TOP + 1))
    assert one.decisions[-1][0] - began < 10.0
    one.run(120.0, 1.0, hints=idle)
    assert one.governor.index == TOP


def test_a_load_that_was_too_much_for_every_rung_is_forgotten_when_it_goes() -> None:
    one = program()
    one.run(15.0, 0.02, hints=idle)  # not even the cheapest rung fits
    assert one.holes > 500
    began = one.now
    one.run(10.0, 1.0, hints=idle)
    assert one.governor.index == TOP
    assert one.decisions[-1][0] - began < 10.0


@pytest.mark.parametrize(("calibrated", "cycles"), [(1.0, 100), (0.1, 20), (10.0, 20), (None, 40)])
def test_a_hundred_load_cycles_leave_no_drift_and_no_oscillation(calibrated: float | None, cycles: int) -> None:
    one = program(calibrated=calibrated)
    marks = []
    for cycle in range(cycles):
        holes = one.holes
        one.run(8.0, LOADED, seed=cycle, hints=idle)
        low = one.governor.index
        one.run(12.0, 1.0, seed=1000 + cycle, hints=idle)
        marks.append((low, one.governor.index, one.holes - holes, len(one.decisions)))
    assert {top for _, top, _, _ in marks} == {TOP}
    half = cycles // 2
    assert max(holes for _, _, holes, _ in marks[half:]) <= max(holes for _, _, holes, _ in marks[:half]) + 10
    per_cycle = np.diff([0, *(count for *_, count in marks)])
    assert per_cycle.max() <= 2 + TOP
    assert per_cycle[-10:].max() <= per_cycle[:10].max()


def test_a_raise_that_fails_is_tried_ever_more_rarely_but_never_given_up() -> None:
    one = program(calibrated=None)
    # Nobody says that the machine is busy, and the low rung itself sees nothing of it.
    one.run(1200.0, LOADED, hints=lambda _share: Hints())
    raises = [at for at, decision in one.decisions if decision.cause == "room"]
    pauses = np.diff(raises)
    assert len(raises) >= 4
    assert pauses[-1] > 4.0 * pauses[0]
    assert pauses.max() < 1.3 * LAST_PATIENCE_S * 8.0 + 10.0
    assert one.holes < 0.005 * 1200 * 125


def test_patience_is_new_after_a_proven_time_at_the_top() -> None:
    one = program(calibrated=None)
    one.run(60.0, LOADED, hints=lambda _share: Hints())
    grown = one.governor.patience_s
    assert grown > 2.0 * 3.0
    one.run(LAST_PATIENCE_S * 2 + PROVEN_S + 10.0, 1.0)
    assert one.governor.index == TOP
    assert one.governor.patience_s <= 1.3 * 3.0


def test_too_big_and_busy_are_told_apart() -> None:
    big, busy = program(), program()
    big.costs = {key: 2.0 * cost for key, cost in COSTS.items()}
    big.run(5.0, 1.0)
    assert big.decisions[0][1].cause == "too big"
    assert "processor time" in big.decisions[0][1].reason
    busy.run(5.0, LOADED)
    assert busy.decisions[0][1].cause == "busy"
    assert "other programs" in busy.decisions[0][1].reason


def test_a_net_that_is_too_big_is_not_tried_again_and_again() -> None:
    one = program()
    one.costs = {key: 2.0 * cost for key, cost in COSTS.items()}
    one.run(300.0, 1.0, hints=idle)
    assert len(one.path) <= 9
    tries = [at for at, decision in one.decisions if decision.cause == "room"]
    assert np.diff(tries)[-1] > 2.0 * np.diff(tries)[0]
    assert one.holes <= 25  # of 37500 hops
    last = [decision.rung for at, decision in one.decisions if at < 5.0][-1]
    assert one.governor.index >= last  # the level that fits stays


@pytest.mark.parametrize("stall_ms", [40.0, 90.0, 150.0, 400.0])
def test_one_stall_is_no_load(stall_ms: float) -> None:
    one = program()
    governor = one.governor
    for look in range(100):
        hit = look == 50
        seen = Observation(
            now=look * 0.064,
            seconds=0.064 + hit * stall_ms / 1000.0,
            hops=8,
            cpu_ms=4.2,
            wait_ms=0.02 + hit * stall_ms / 8.0,
            span_ms=4.3 + hit * stall_ms / 8.0,
            late=int(hit),
            holes=int(hit * stall_ms / 8.0),
        )
        assert governor.look(seen) is None


def test_holes_that_are_not_ours_change_nothing() -> None:
    one = program()
    for look in range(500):  # a device that gives nothing now and then; work and waiting are as ever
        seen = Observation(
            now=look * 0.064, seconds=0.064, hops=8, cpu_ms=4.2, wait_ms=0.01, span_ms=4.3, holes=look % 5
        )
        assert one.governor.look(seen) is None


def test_a_pin_wins_and_says_so() -> None:
    one = program()
    one.run(2.0, LOADED)
    assert one.governor.index < TOP
    one.governor.pinned = True
    one.run(20.0, LOADED)
    assert one.governor.index == TOP
    assert one.decisions[-1][1].reason.endswith("pinned")
    one.governor.pinned = False
    one.run(5.0, LOADED)
    assert one.governor.index < TOP


def test_off_goes_back_to_what_was_asked_for_and_stays() -> None:
    one = program()
    one.run(2.0, LOADED)
    one.governor.mode = "off"
    one.run(20.0, LOADED)
    assert one.governor.index == TOP
    assert one.path[-1] == TOP


def test_eco_takes_at_most_half_and_quality_holds_on_for_longer() -> None:
    eco = program(mode="eco")
    eco.run(1.0, 1.0)
    rung = LADDER[eco.governor.index]
    assert rung.own
    assert COSTS[rung.key] <= COSTS[LADDER[TOP].key] / 2
    eco.run(60.0, 1.0)
    assert len(eco.path) == 1
    auto, quality = program(), program(mode="quality")
    for one in (auto, quality):
        one.run(3.0, 0.5)  # what is left is a little too little for the best level
    assert quality.path[0] > auto.path[0]


def test_a_low_battery_is_eco_for_auto_and_nothing_to_quality() -> None:
    low = Hints(saving="the battery is at 18 %")
    auto, quality = program(), program(mode="quality")
    for one in (auto, quality):
        one.run(5.0, 1.0, hints=lambda _share: low)
    assert auto.governor.index == program(mode="eco").governor._economic()
    assert "battery" in auto.decisions[0][1].reason
    assert quality.governor.index == TOP
    auto.run(20.0, 1.0)
    assert auto.governor.index == TOP


@pytest.mark.parametrize("factor", [0.1, 10.0])
def test_costs_that_are_wrong_by_ten_are_corrected_and_said(factor: float) -> None:
    one = program(calibrated=factor)
    one.run(5.0, 1.0)
    assert one.path == []
    assert one.governor.costs.wild
    for rung in LADDER:
        assert one.governor.costs.of(rung.key) == pytest.approx(COSTS[rung.key], rel=0.25)


def test_costs_that_are_wrong_each_in_its_own_way_do_not_keep_it_down_for_ever() -> None:
    one = program(calibrated=None)
    one.governor.costs.calibrate({key: 0.5 if key[0] == "net" and key[1] == 0 else 40.0 for key in COSTS})
    one.run(20.0, LOADED, hints=idle)
    one.run(300.0, 1.0, hints=idle)
    assert one.governor.index == TOP


def test_silence_teaches_nothing_about_costs() -> None:
    one = program(calibrated=None)
    one.run(10.0, 1.0)
    before = one.governor.costs.of(LADDER[TOP].key)
    one.run(60.0, 1.0, silent=True)
    assert one.path == []
    assert one.governor.costs.of(LADDER[TOP].key) == pytest.approx(before, rel=0.05)


def test_a_bypass_that_does_not_help_is_taken_back() -> None:
    one = program(calibrated=None)
    governor = one.governor
    governor.use(LADDER[:1] + LADDER[2:3], top=1, index=1, now=0.0)
    went = []
    for look in range(400):  # the sound server itself starves: every look has a hole, whatever runs
        cpu = COSTS[governor.rungs[governor.index].key]
        seen = Observation(
            now=look * 0.064, seconds=0.064, hops=8, cpu_ms=cpu, wait_ms=1.5, span_ms=cpu + 1.5, late=2, holes=2
        )
        decision = governor.look(seen)
        if decision is not None:
            went.append(decision)
    assert [decision.rung for decision in went] == [0, 1]
    assert "only priority would help" in went[-1].reason


@pytest.mark.parametrize("seeds", [(1, 2), (3, 4), (5, 5)])
def test_two_on_one_machine_do_not_fight(seeds: tuple[int, int]) -> None:
    pair = [program(seed=seed) for seed in seeds]
    shared(pair, 20.0, 1.0)  # 2 * 4.2 of 8 ms: too much for both at their best
    for one in pair:
        one.holes_at.clear()
    shared(pair, 300.0, 1.0)
    changes = sum(len([at for at, _ in one.decisions if at > 20.0]) for one in pair)
    assert changes <= 2 * 5 * 6  # five minutes
    minutes = [sum(at // 60 == minute for one in pair for at, _ in one.decisions) for minute in range(1, 5)]
    assert minutes[-1] <= 6
    assert sum(len(one.holes_at) for one in pair) < 0.01 * 2 * 300 * 125
    assert min(one.governor.index for one in pair) >= 2  # both are heard with their own engine


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.floats(0.05, 1.0), st.floats(0.2, 20.0)), min_size=1, max_size=25), st.integers(0, 99))
def test_whatever_the_load_does_changes_are_few_and_valid(phases: list[tuple[float, float]], seed: int) -> None:
    one = program(calibrated=None, seed=seed)
    for share, seconds in phases:
        one.run(seconds, share, seed=seed)
    times = [at for at, _ in one.decisions]
    assert all(b - a >= SETTLE_S - 0.07 for a, b in itertools.pairwise(times))
    raises = [at for at, decision in one.decisions if decision.cause == "room"]
    for at in raises:
        assert sum(at - 60.0 < other <= at for other in raises) <= RAISES_PER_MINUTE
    assert all(0 <= decision.rung <= TOP and decision.reason for _, decision in one.decisions)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(*[st.one_of(st.floats(0.0, 1e6), st.just(0.0))] * 4, st.integers(0, 1000), st.booleans()), max_size=40
    )
)
def test_nonsense_is_survived(rows: list[tuple[float, float, float, float, int, bool]]) -> None:
    governor = Governor(seed=0)
    governor.use(LADDER, top=TOP, index=TOP, now=0.0)
    now = 0.0
    for seconds, cpu, wait, span, holes, silent in rows:
        now += seconds
        seen = Observation(
            now=now, seconds=seconds, hops=8, cpu_ms=cpu, wait_ms=wait, span_ms=span, holes=holes, silent=silent
        )
        governor.look(seen)
        assert 0 <= governor.index <= TOP
        assert math.isfinite(governor.patience_s)


def test_a_ladder_of_one_rung_is_stood_on() -> None:
    one = program()
    one.governor.use(LADDER[:1], top=0, index=0, now=0.0)
    one.run(60.0, 0.05)
    assert one.path == []
    own = (replace(LADDER[0], own=True),)
    one.governor.use(own, top=0, index=0, now=one.now)
    one.run(60.0, 0.05)
    assert one.path == []


def test_a_lower_top_is_kept_to() -> None:
    one = program()
    one.governor.use(LADDER, top=TOP - 2, index=TOP - 2, now=0.0)
    one.run(5.0, LOADED, hints=idle)
    one.run(60.0, 1.0, hints=idle)
    assert one.governor.index == TOP - 2


def test_more_rungs_do_not_move_it() -> None:
    one = program()
    short = (LADDER[0], *LADDER[2:])
    one.governor.use(short, top=len(short) - 1, index=1, now=0.0)
    assert one.governor.rungs[one.governor.index] == Rung(engine="net", level=0, name="net 0")
    one.governor.use(LADDER, top=TOP, index=2, now=5.0)
    assert one.governor.rungs[one.governor.index].key == ("net", 0)
