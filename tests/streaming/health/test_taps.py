"""The first silent tap is named: microphone, in, out, virtual microphone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pse_stream.dsp.spec import Float32s
from pse_stream.streaming.health.taps import check_taps, level_db
from pse_stream.streaming.snapshot import Meter, Snapshot

TAPS = ("tap mic", "tap in", "tap out", "tap virtual")


def status(dead: set[str], **settings: Any) -> dict[str, Any]:
    def meter(tap: str) -> Meter:
        return Meter(rms_db=-120.0 if tap in dead else -40.0)

    plain = Snapshot(state="running", meter_in=meter("tap in"), meter_out=meter("tap out")).as_dict()
    plain["settings"] |= settings
    return plain


def hear(dead: set[str]) -> Any:
    def listen(source: str, _seconds: float) -> Float32s:
        tap = "tap mic" if source == "usb" else "tap virtual"
        return np.full(1_000, 0.0 if tap in dead else 0.01, np.float32)

    return listen


@pytest.mark.parametrize("dead", range(5))
def test_first_dead_tap_fails_and_those_before_it_do_not(dead: int) -> None:
    silent = set(TAPS[dead:])
    found = list(check_taps("usb", "pse_mic", status(silent), hear(silent)))
    assert [f.name for f in found] == list(TAPS)
    assert [f.verdict for f in found] == ["ok"] * dead + ["fail"] * (4 - dead)


def test_mute_is_named_as_mute_and_not_as_a_fault_of_the_source() -> None:
    found = list(check_taps("usb", "pse_mic", status({"tap out"}, mute=True), hear({"tap virtual"})))
    assert [(f.name, f.verdict) for f in found] == [("tap mic", "ok"), ("tap in", "ok"), ("tap out", "warn")]
    assert found[-1].command == "pse-stream ctl mute off"


def test_while_nothing_runs_only_the_microphone_is_listened_to() -> None:
    assert [f.name for f in check_taps("usb", None, None, hear(set()))] == ["tap mic"]
    assert list(check_taps(None, None, None, hear(set()))) == []


def test_source_that_gives_nothing_at_all_is_told_from_silence() -> None:
    found = list(check_taps("usb", "pse_mic", status(set()), lambda *_: None))
    assert (found[0].verdict, found[-1].verdict) == ("warn", "fail")
    assert "nothing" in found[-1].text


def test_microphone_below_every_room_is_a_warning() -> None:
    found = list(check_taps("usb", None, None, lambda *_: np.full(1_000, 1e-4, np.float32)))
    assert (found[0].verdict, found[0].text) == ("warn", "-80 dBFS: quieter than any room")


def test_level_of_full_scale_silence_and_nothing() -> None:
    assert level_db(np.ones(8, np.float32)) == pytest.approx(0.0)
    assert level_db(np.zeros(8, np.float32)) == level_db(np.zeros(0, np.float32)) == -120.0
