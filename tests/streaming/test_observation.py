"""From hops to what the governor sees."""

from __future__ import annotations

from pathlib import Path

import pytest

from pse_stream.streaming.observation import LOOK_HOPS, HopLog, Observation
from pse_stream.streaming.run_queue import RunQueue

HOP_S = 0.008


def hops(
    log: HopLog, count: int, *, cpu: float, wall: float, waited: float | None, **rest: object
) -> list[Observation]:
    """Hops that begin when their block comes; `waited` is added per hop."""
    seen, total = [], 0.0
    for index in range(count):
        came = 100.0 + index * max(HOP_S, wall)
        total += waited or 0.0
        found = log.hop(
            came=came,
            began=came,
            ended=came + wall,
            cpu_s=cpu,
            waited_s=None if waited is None else total,
            holes=int(rest.get("holes", 0)) * index,  # type: ignore[call-overload]
            silent=bool(rest.get("silent", False)),
        )
        if found is not None:
            seen.append(found)
    return seen


def test_eight_hops_are_one_look() -> None:
    looks = hops(HopLog(), 1 + 3 * LOOK_HOPS, cpu=0.002, wall=0.003, waited=0.0005)
    assert len(looks) == 3
    assert looks[0].hops == LOOK_HOPS
    assert looks[0].cpu_ms == pytest.approx(2.0)
    assert looks[0].wait_ms == pytest.approx(0.5)
    assert looks[0].span_ms == pytest.approx(3.0)
    assert (looks[0].late, looks[0].holes, looks[0].silent) == (0, 0, False)


def test_where_the_system_does_not_count_the_wait_it_is_what_is_left() -> None:
    (look,) = hops(HopLog(), 1 + LOOK_HOPS, cpu=0.002, wall=0.005, waited=None)
    assert look.wait_ms == pytest.approx(3.0)


def test_late_hops_holes_and_silence_are_counted() -> None:
    look = hops(HopLog(), 30, cpu=0.009, wall=0.010, waited=0.0, holes=2, silent=True)[1]
    assert look.late == look.hops
    assert look.holes == 2 * look.hops
    assert look.bad == look.holes
    assert look.silent


def test_hops_that_take_for_ever_are_looked_at_sooner() -> None:
    looks = hops(HopLog(), 6, cpu=0.05, wall=0.06, waited=0.0)
    assert looks[0].hops == 2


def test_a_pause_is_no_load() -> None:
    log = HopLog()
    hops(log, 4, cpu=0.001, wall=0.002, waited=0.0)
    assert log.hop(came=200.0, began=200.0, ended=200.002, cpu_s=0.001, waited_s=9.0, holes=50, silent=False) is None
    following = [
        log.hop(
            came=200.0 + k * HOP_S, began=200.0 + k * HOP_S, ended=200.002 + k * HOP_S, cpu_s=0.001, waited_s=9.0,
            holes=50, silent=False,
        )
        for k in range(1, LOOK_HOPS + 1)
    ]  # fmt: skip
    look = following[-1]
    assert look is not None
    assert (look.late, look.holes, look.wait_ms) == (0, 0, 0.0)


def test_the_run_queue_is_the_second_figure(tmp_path: Path) -> None:
    path = tmp_path / "schedstat"
    path.write_text("1000 2500000000 7\n")
    queue = RunQueue(path)
    assert queue.waited_s() == pytest.approx(2.5)
    path.write_text("1000 3500000000 9\n")
    assert queue.waited_s() == pytest.approx(3.5)


@pytest.mark.parametrize("text", [None, "", "12", "a b c"])
def test_a_system_that_does_not_say_is_none_for_good(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "schedstat"
    if text is not None:
        path.write_text(text)
    queue = RunQueue(path)
    assert queue.waited_s() is None
    path.write_text("1 2 3")
    assert queue.waited_s() is None
