from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from pse_stream.control.self_check import check_running
from pse_stream.streaming.settings import Settings
from pse_stream.streaming.snapshot import Counters, Latency, Load, Meter, Snapshot

HEALTHY = Snapshot(
    state="running",
    input_device="Yeti",
    output_device="virtual",
    virtual_mic="Denoised Microphone",
    readers=1,
    meter_in=Meter(rms_db=-30.0, max_db=-10.0),
)


def verdicts(snapshot: Snapshot) -> dict[str, str]:
    return {finding.name: finding.verdict for finding in check_running(snapshot)}


def test_a_healthy_denoiser_has_nothing_to_complain_of() -> None:
    assert set(verdicts(HEALTHY).values()) == {"ok"}


@pytest.mark.parametrize(
    ("wrong", "name", "verdict"),
    [
        ({"state": "failed", "reason": "no sound server"}, "state", "fail"),
        ({"state": "degraded"}, "state", "warn"),
        ({"input_device": ""}, "microphone", "fail"),
        ({"meter_in": Meter(rms_db=-120.0)}, "microphone", "fail"),
        ({"meter_in": Meter(rms_db=-20.0, clips=3)}, "clipping", "warn"),
        ({"meter_in": Meter(rms_db=-20.0, max_db=-1.0)}, "clipping", "warn"),
        ({"load": Load(hop_ms_p99=7.0)}, "load", "warn"),
        ({"counters": Counters(dropped_hops=1)}, "losses", "warn"),
        ({"output_device": ""}, "output", "fail"),
        ({"settings": Settings(mute=True)}, "output", "warn"),
        ({"settings": Settings(bypass=True)}, "output", "warn"),
        ({"readers": 0}, "readers", "warn"),
        ({"latency": Latency(buffer_ms=60.0)}, "delay", "warn"),
    ],
)
def test_each_fault_is_named(wrong: dict[str, Any], name: str, verdict: str) -> None:
    found = verdicts(structs.replace(HEALTHY, **wrong))
    assert found[name] == verdict
    assert [other for other, word in found.items() if word != "ok"] == [name]
