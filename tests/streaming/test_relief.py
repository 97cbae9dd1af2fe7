"""When an engine is taken out, and when it gets another chance."""

from __future__ import annotations

import itertools

from pse_stream.streaming.relief import FIRST_TRY_S, LAST_TRY_S, PROVEN_S, Relief

HOP_S = 0.008


def run(relief: Relief, late: float, seconds: float, start: float) -> list[tuple[float, str]]:
    """What is done while this share of the hops is late."""
    done, count = [], 0.0
    for hop in range(round(seconds / HOP_S)):
        count += late
        is_late = count >= 1.0
        count -= is_late
        what = relief.look(is_late, start + hop * HOP_S)
        if what != "nothing":
            done.append((start + hop * HOP_S, what))
    return done


def test_a_fifth_of_the_hops_late_is_no_reason() -> None:
    assert run(Relief(), 0.2, 20.0, 0.0) == []


def test_most_hops_late_is_one_within_a_second() -> None:
    ((when, what),) = run(Relief(), 1.0, 2.0, 0.0)
    assert what == "take out"
    assert when < 1.0


def test_an_engine_that_stays_too_slow_is_tried_ever_more_rarely() -> None:
    relief, tries, now = Relief(), [], 0.0
    while now < 3000.0:
        for when, what in run(relief, 1.0, 10.0, now):
            if what == "try again":
                tries.append(when)
        now += 10.0
    pauses = [b - a for a, b in itertools.pairwise(tries)]
    assert tries[0] < FIRST_TRY_S + 2.0
    assert all(later >= earlier - 0.01 for earlier, later in itertools.pairwise(pauses))
    assert LAST_TRY_S <= pauses[-1] < LAST_TRY_S + 3.0


def test_an_engine_that_did_well_for_a_minute_begins_anew() -> None:
    relief = Relief()
    run(relief, 1.0, 2.0, 0.0)
    run(relief, 0.0, FIRST_TRY_S + PROVEN_S + 5.0, 2.0)
    again = run(relief, 1.0, FIRST_TRY_S + 5.0, 200.0)
    assert again[1][0] - again[0][0] < FIRST_TRY_S + 0.1
