from __future__ import annotations

import pytest

from pse_stream.control.tui import glyphs
from pse_stream.control.tui.model import FALL_DB_PER_S, HOLD_S, Model, Signal


def meter(peak_db: float, clips: int = 0) -> dict[str, object]:
    return {"peak_db": peak_db, "rms_db": peak_db - 10, "max_db": peak_db, "clips": clips}


def test_a_peak_is_marked_at_once_held_and_then_falls() -> None:
    signal = Signal()
    signal.hear(meter(-60.0), 0.0)
    signal.hear(meter(-6.0), 1.0)
    assert signal.mark_db == -6.0
    signal.hear(meter(-60.0), 1.0 + HOLD_S)
    assert signal.mark_db == -6.0
    signal.hear(meter(-60.0), 2.0 + HOLD_S)
    assert signal.mark_db == pytest.approx(-6.0 - FALL_DB_PER_S, abs=0.1)
    signal.hear(meter(-60.0), 100.0)
    assert signal.mark_db == -60.0


def test_a_mark_falls_as_fast_however_often_it_is_looked_at() -> None:
    often, seldom = Signal(), Signal()
    for signal in (often, seldom):
        signal.hear(meter(-6.0), 0.0)
    for i in range(1, 31):
        often.hear(meter(-120.0), i / 10.0)
    seldom.hear(meter(-120.0), 3.0)
    assert often.mark_db == pytest.approx(seldom.mark_db, abs=0.1)


def test_the_clip_lamp_stays_until_it_is_cleared_and_survives_a_restart() -> None:
    signal = Signal()
    signal.hear(meter(0.0, clips=3), 0.0)
    signal.hear(meter(-20.0, clips=3), 1.0)
    assert signal.clips == 3
    signal.clear_clips()
    assert signal.clips == 0
    signal.hear(meter(0.0, clips=4), 2.0)
    assert signal.clips == 1
    signal.hear(meter(0.0, clips=1), 3.0)
    assert signal.clips == 1


def test_figures_that_are_null_are_silence() -> None:
    model = Model()
    model.hear("meters", {"in": {"peak_db": None}, "out": {}, "removed_db": None}, 0.0)
    model.hear("engine", {"load": {"hop_ms_mean": None}}, 0.0)
    assert (model.signal_in.peak_db, model.removed_db, list(model.loads)) == (-120.0, 0.0, [0.0])


def test_events_are_added_once_though_the_window_slides() -> None:
    model = Model()
    for recent in (["a"], ["a", "b"], ["b", "c"], ["b", "c"]):
        model.hear("events", {"recent": recent}, 0.0)
    assert list(model.events) == ["a", "b", "c"]


def test_the_governors_own_words_are_shown() -> None:
    model = Model()
    for changes, reason in ((0, ""), (1, "net 3 -> net 2: other programs hold the processor")) * 2:
        model.hear("governor", {"level": 3 - changes, "mode": "auto", "changes": changes, "reason": reason}, 0.0)
    assert model.decisions[0] == "net 3 -> net 2: other programs hold the processor"
    assert model.decisions.count("net 3 -> net 2: other programs hold the processor") == 2


def test_decisions_of_the_governor_are_remembered() -> None:
    model = Model()
    for level in (3, 3, 2):
        model.hear("governor", {"level": level, "mode": "auto", "origin": "governor"}, 0.0)
    assert list(model.decisions) == ["level 3 -> 2 (governor)"]


def test_a_lost_connection_counts_down_and_ages() -> None:
    model = Model()
    model.connect("box", "control")
    model.hear("state", {"state": "running"}, 10.0)
    assert model.connected
    model.lose("gone", retry_at=14.0)
    assert not model.connected
    assert (model.retry_in(12.1), model.age(15.0)) == (2, 5)


def test_topics_of_a_newer_server_are_ignored() -> None:
    model = Model()
    model.hear("weather", {"sun": True}, 1.0)
    assert model.heard_at == 1.0


@pytest.mark.parametrize("unicode", [True, False])
@pytest.mark.parametrize("level", [-200.0, -60.0, -59.9, -30.0, -0.1, 0.0, 20.0])
def test_a_bar_has_its_length_whatever_the_level(level: float, unicode: bool) -> None:
    assert len(glyphs.bar(level, level + 3.0, 30, unicode=unicode)) == 30


def test_bars_grow_with_the_level_and_show_the_mark() -> None:
    filled = [glyphs.bar(level, -999.0, 60, unicode=False).count("#") for level in (-60, -45, -30, -15, 0)]
    assert filled == [0, 15, 30, 45, 60]
    assert glyphs.bar(-60.0, -30.0, 60, unicode=False).index("|") == 30


def test_a_load_that_is_not_nothing_is_never_drawn_as_nothing() -> None:
    assert glyphs.spark([0.0, 0.01, 8.0, 80.0], 8.0, 6, unicode=True) == "   ▁██"


def test_shades_span_the_range() -> None:
    steps = [glyphs.loudness_step(db, 14, floor_db=-95.0, top_db=-20.0) for db in (-200, -95, -57.5, -20.1, 20)]
    assert steps == [0, 0, 7, 13, 13]
