"""Every fault of a device in simulated time: what is said, what is done, when sound is back."""

from __future__ import annotations

import numpy as np
import pytest

from pse_stream.errors import DeviceError
from pse_stream.streaming.denoiser import Denoiser
from pse_stream.streaming.devices.fake import FakeDevice
from pse_stream.streaming.diagnosis import PAUSE_S, STILL_S
from pse_stream.streaming.settings import Settings

from .stubs import RATE, Slow, noise, shelf, tone

PINNED = Settings(bypass=True, input="mic")


def running(device: FakeDevice, settings: Settings = PINNED) -> Denoiser:
    denoiser = Denoiser(settings, device=device, engines=shelf())
    denoiser.start()
    device.advance(1.0)
    assert denoiser.snapshot.state == "bypassed"
    return denoiser


def loudness(device: FakeDevice, seconds: float) -> float:
    """RMS of what was played last."""
    return float(np.sqrt(np.mean(np.square(device.output[-round(seconds * RATE) :], dtype=np.float64))))


def test_s26_s27_an_unplugged_microphone_is_silence_at_once_and_comes_back_by_name() -> None:
    device = FakeDevice(source=tone())
    denoiser = running(device)
    device.unplug("mic", moved_to="fake_output.monitor")  # the server goes on with another source, without a word
    device.advance(0.25)
    assert denoiser.snapshot.state == "stalled"
    assert '"mic" was unplugged' in denoiser.snapshot.reason
    device.advance(5.0)
    assert loudness(device, 5.0) == 0.0
    assert denoiser.snapshot.input_device == ""
    device.plug("mic")
    device.advance(0.5)
    assert denoiser.snapshot.state == "bypassed"
    assert denoiser.snapshot.input_device == "mic"
    device.advance(0.5)
    assert loudness(device, 0.3) > 0.1
    denoiser.stop()


def test_s26_twenty_replugs_are_back_within_two_seconds_each() -> None:
    device = FakeDevice(source=tone(), keep_output=True)
    denoiser = running(device)
    for _ in range(20):
        device.unplug("mic")
        device.advance(0.5)
        assert denoiser.snapshot.state == "stalled"
        device.plug("mic")
        device.advance(0.6)
        assert denoiser.snapshot.state == "bypassed"
        assert loudness(device, 0.2) > 0.1
    denoiser.stop()


def test_s29_auto_follows_to_another_microphone_and_a_name_does_not() -> None:
    device = FakeDevice(source=tone())
    denoiser = running(device, Settings(bypass=True, input="auto"))
    device.unplug("mic", moved_to="spare")
    device.advance(1.0)
    assert denoiser.snapshot.state == "bypassed"
    assert denoiser.snapshot.input_device == "spare"
    denoiser.stop()


def test_s34_an_output_that_was_moved_elsewhere_is_silent_at_once_and_taken_back() -> None:
    device = FakeDevice(source=tone())
    denoiser = running(device)
    device.say(output_attached="loudspeakers")
    device.advance(0.12)
    assert denoiser.snapshot.counters.reopened == 1
    assert device.opened["output"] == 2
    device.advance(1.0)
    assert denoiser.snapshot.state == "bypassed"
    assert denoiser.snapshot.output_device == "virtual"
    denoiser.stop()


def test_s41_a_microphone_that_was_moved_to_our_own_output_is_taken_back() -> None:
    device = FakeDevice(source=tone())
    denoiser = running(device)
    device.say(input_attached="pse_mic", input_is_ours=True)
    device.advance(0.12)
    assert device.opened["input"] == 2
    device.say(input_is_ours=False)
    device.advance(1.0)
    assert denoiser.snapshot.state == "bypassed"
    denoiser.stop()


def test_a_person_who_moves_the_stream_in_the_mixer_is_obeyed() -> None:
    device = FakeDevice(source=tone())
    denoiser = running(device)
    device.say(input_attached="spare")
    device.advance(0.5)
    snapshot = denoiser.snapshot
    assert snapshot.input_device == "spare"
    assert snapshot.state == "bypassed"
    assert device.opened["input"] == 1
    assert any("in the mixer" in event for event in snapshot.events)
    denoiser.stop()


def test_s39_a_killed_server_is_tried_again_and_again_and_sound_is_back_within_five_seconds() -> None:
    device = FakeDevice(source=tone())
    denoiser = running(device)
    down = DeviceError("no sound server answers", name="server_down")
    device.say(server_up=False)
    device.end("input")
    device.end("output")
    device.refuse("output", down, times=100)
    device.advance(4.0)
    snapshot = denoiser.snapshot
    assert snapshot.state == "stalled"
    assert "no sound server answers" in snapshot.reason
    tried = 100 - len(device._refusals)
    assert 4 <= tried <= 6  # after 0, 0.2, 0.5, 1, 2 ... s
    device._refusals.clear()
    device.say(server_up=True)
    device.advance(2.5)
    assert denoiser.snapshot.state == "bypassed"
    assert loudness(device, 0.1) > 0.1
    denoiser.stop()


def test_s22_a_queue_of_the_server_that_has_grown_is_shown_and_emptied_but_not_too_often() -> None:
    device = FakeDevice(source=tone())
    denoiser = running(device)
    before = denoiser.snapshot.latency.device_ms
    device.lag(0.008)
    assert denoiser.snapshot.latency.device_ms == pytest.approx(before + 8.0)
    device.advance(3.5)
    assert device.opened == {"input": 1, "output": 2}
    assert denoiser.snapshot.latency.device_ms == pytest.approx(before)
    assert any("held 8 ms more" in event for event in denoiser.snapshot.events)
    device.lag(0.008)
    device.advance(30.0)
    assert device.opened["output"] == 2
    device.advance(35.0)
    assert device.opened["output"] == 3
    denoiser.stop()


def test_a_stream_that_ends_by_itself_is_opened_again() -> None:
    device = FakeDevice(source=tone())
    denoiser = running(device)
    device.end("output")
    device.advance(0.5)
    assert denoiser.snapshot.state == "bypassed"
    assert denoiser.snapshot.counters.reopened == 1
    denoiser.stop()


def test_a_device_that_delivers_nothing_is_stalled_then_opened_again_after_two_seconds() -> None:
    device = FakeDevice(source=tone())
    denoiser = running(device)
    device.stall("input", 1e9, lose=True)
    device.advance(STILL_S + 0.3)
    assert denoiser.snapshot.state == "stalled"
    assert '"mic" gives no sound' in denoiser.snapshot.reason
    assert device.opened["input"] == 1
    device.advance(2.0)
    assert device.opened["input"] == 2
    assert denoiser.snapshot.state == "bypassed"
    denoiser.stop()


def test_a_suspended_source_is_waited_for_not_opened_again() -> None:
    device = FakeDevice(source=tone())
    denoiser = running(device)
    device.say(input_suspended=True)
    device.stall("input", 6.0, lose=True)
    device.advance(5.0)
    assert "suspended" in denoiser.snapshot.reason
    device.say(input_suspended=False)
    device.advance(2.0)
    assert denoiser.snapshot.state == "bypassed"
    assert device.opened["input"] == 1
    denoiser.stop()


def test_s26_after_the_machine_slept_everything_is_opened_again() -> None:
    device = FakeDevice(source=tone())
    denoiser = running(device)
    device.say(slept_s=3600.0)
    device.advance(0.2)
    assert device.opened == {"input": 2, "output": 2}
    device.advance(1.0)
    assert denoiser.snapshot.state == "bypassed"
    denoiser.stop()


def test_s38_a_muted_microphone_and_one_that_gives_zeros_are_named_and_kept() -> None:
    device = FakeDevice(source=tone())
    denoiser = running(device)
    device.say(input_muted=True)
    device.advance(0.2)
    assert denoiser.snapshot.state == "degraded"
    assert "muted in the mixer" in denoiser.snapshot.reason
    device.say(input_muted=False)
    device.hear(None)
    device.advance(4.0)
    assert denoiser.snapshot.state == "degraded"
    assert "digital silence" in denoiser.snapshot.reason
    device.hear(tone())
    device.advance(1.0)
    assert denoiser.snapshot.state == "bypassed"
    assert device.opened["input"] == 1
    denoiser.stop()


def test_s38_a_mute_is_named_by_a_computer_that_does_not_keep_up_as_well() -> None:
    device = FakeDevice(source=noise(20.0))
    engine = Slow(device, lambda _step: 0.012)
    with Denoiser(Settings(governor="off"), device=device, engines=shelf(auto=lambda: engine)) as denoiser:
        device.advance(2.0)
        assert "keep up" in denoiser.snapshot.reason
        device.say(input_muted=True)
        device.advance(1.0)
        assert "muted in the mixer" in denoiser.snapshot.reason
        device.say(input_muted=False)
        device.advance(1.0)
        assert "keep up" in denoiser.snapshot.reason


def test_s31_a_hundred_turns_of_the_volume_wheel_reload_nothing_and_are_told_once() -> None:
    device = FakeDevice(source=tone())
    denoiser = running(device)
    for percent in range(100, 50, -1):
        device.say(input_volume_percent=float(percent))
        device.advance(0.01)
    device.advance(0.5)
    assert device.opened == {"input": 1, "output": 1}
    assert any("51 %" in event for event in denoiser.snapshot.events)
    denoiser.stop()


def test_s28_s45_without_listeners_the_microphone_is_closed_and_the_first_one_opens_it() -> None:
    device = FakeDevice(source=tone())
    denoiser = running(device)
    device.say(readers=0)
    device.advance(PAUSE_S + 0.3)
    paused = denoiser.snapshot
    assert paused.state == "paused"
    assert paused.input_device == ""
    device.advance(10.0)
    assert denoiser.snapshot.counters.hops == paused.counters.hops
    device.say(readers=1)
    denoiser._tick()  # the device tells of its news at once
    device.advance(0.1)
    assert loudness(device, 0.02) > 0.1
    device.advance(0.2)
    assert denoiser.snapshot.state == "bypassed"
    assert denoiser.snapshot.counters.underruns == 0
    denoiser.stop()


def test_a_listener_that_lets_go_for_a_moment_does_not_close_the_microphone() -> None:
    device = FakeDevice(source=tone())
    denoiser = running(device)
    for _ in range(5):
        device.say(readers=0)
        device.advance(PAUSE_S - 1.0)
        device.say(readers=1)
        device.advance(0.5)
    assert device.opened["input"] == 1
    denoiser.stop()


def test_s46_overload_is_said_and_unsaid_with_ten_seconds_between() -> None:
    device = FakeDevice(source=noise(60.0))
    denoiser = running(device)
    for _ in range(4):
        denoiser._runner.post(lambda _pipeline, _hop: device.spend(0.2))  # somebody else has the computer
        device.advance(0.3)
    device.advance(0.3)
    assert denoiser.snapshot.state == "degraded"
    device.advance(9.0)
    assert denoiser.snapshot.state == "degraded"
    device.advance(7.0)
    assert denoiser.snapshot.state == "bypassed"
    denoiser.stop()


@pytest.mark.parametrize("direction", ["input", "output"])
def test_a_device_that_refuses_at_the_start_is_an_error_and_nothing_stays_open(direction: str) -> None:
    device = FakeDevice()
    device.refuse("input" if direction == "input" else "output", DeviceError("busy", name="device_busy"))
    with pytest.raises(DeviceError, match="busy"):
        Denoiser(PINNED, device=device, engines=shelf()).start()
    assert device._streams == []
