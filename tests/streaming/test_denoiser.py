"""The facade: commands, revisions, precedence, threads, and an end that leaves nothing behind."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pse_stream.dsp.spec import Complex64s
from pse_stream.engines.bypass import BypassEngine
from pse_stream.engines.contract import Engine
from pse_stream.errors import ConfigError, ControlError, DeviceError, EngineError, SpecError
from pse_stream.streaming.denoiser import Denoiser
from pse_stream.streaming.devices.fake import FakeDevice
from pse_stream.streaming.devices.file import FileDevice
from pse_stream.streaming.settings import (
    Command,
    SetAttenuation,
    SetBypass,
    SetDevices,
    SetEngine,
    SetGate,
    SetGovernor,
    SetLevel,
    SetMute,
    SetProfile,
    SetRecording,
    Settings,
    Shutdown,
)

from .stubs import RATE, clickiness, noise, shelf, tone


def started(device: FakeDevice, settings: Settings | None = None) -> Denoiser:
    denoiser = Denoiser(settings or Settings(engine="levels"), device=device, engines=shelf())
    denoiser.start()
    device.advance(0.3)
    return denoiser


def refusal(denoiser: Denoiser, device: FakeDevice, command: Command) -> Exception:
    future = denoiser.submit(command)
    device.advance(0.05)
    error = future.exception(timeout=0)
    assert isinstance(error, Exception)
    return error


def test_a_command_is_answered_with_revision_hop_and_what_changed() -> None:
    device = FakeDevice(source=tone())
    denoiser = started(device)
    future = denoiser.submit(SetAttenuation(12.0))
    assert not future.done()
    hops = denoiser.snapshot.hop_index
    device.advance(0.05)
    applied = future.result(timeout=0)
    assert applied.revision == denoiser.snapshot.revision == 1
    assert hops <= applied.hop_index <= hops + 6
    assert applied.changed == {"attenuation_db": (30.0, 12.0)}
    assert denoiser.snapshot.origins["attenuation_db"] == "command"
    again = denoiser.submit(SetAttenuation(12.0))
    device.advance(0.05)
    assert again.result(timeout=0).changed == {}
    assert denoiser.snapshot.revision == 1
    denoiser.stop()


def test_s12_bypass_is_heard_within_fifty_ms_without_a_click_or_a_change_of_delay() -> None:
    device = FakeDevice(source=tone())
    denoiser = started(device, Settings(engine="silencer", attenuation_db=100.0))
    before = denoiser.snapshot.latency.total_ms
    assert np.abs(device.output[-4800:]).max() < 1e-6
    denoiser.submit(SetBypass(True))
    device.advance(0.05)
    assert np.abs(device.output[-400:]).max() > 0.25
    assert clickiness(device.output) < 0.01
    assert denoiser.snapshot.latency.total_ms == pytest.approx(before, abs=0.5)
    assert denoiser.snapshot.state == "bypassed"
    denoiser.stop()


def test_s21_mute_is_digital_zero_and_survives_swaps_of_everything() -> None:
    device = FakeDevice(source=tone())
    denoiser = started(device)
    denoiser.submit(SetMute(True))
    device.advance(0.2)
    silent_from = len(device.output)
    for turn in range(10):
        denoiser.submit(SetEngine(("bypass", "levels")[turn % 2]))
        denoiser.submit(SetDevices(input=("spare", "mic")[turn % 2]))
        denoiser.submit(SetBypass())
        device.advance(0.3)
        assert denoiser.snapshot.settings.mute
    assert not device.output[silent_from:].any()
    denoiser.stop()


def test_toggles_count_from_what_is_true_when_they_are_applied() -> None:
    device = FakeDevice()
    denoiser = started(device)
    futures = [denoiser.submit(SetBypass()) for _ in range(3)]
    device.advance(0.05)
    assert [f.result(timeout=0).changed["bypass"] for f in futures] == [(False, True), (True, False), (False, True)]
    denoiser.stop()


def test_a_change_against_an_old_revision_is_refused_by_name() -> None:
    device = FakeDevice()
    denoiser = started(device)
    first, second = denoiser.submit(SetMute(), if_revision=0), denoiser.submit(SetMute(), if_revision=0)
    device.advance(0.05)
    assert first.result(timeout=0).revision == 1
    error = second.exception(timeout=0)
    assert isinstance(error, ControlError)
    assert error.name == "conflict"
    denoiser.stop()


@pytest.mark.parametrize(
    ("command", "kind", "name"),
    [
        (SetProfile("alcie"), ConfigError, "no_profile"),
        (SetRecording(True), ConfigError, "no_profile"),
        (SetGate("keyboard"), EngineError, "no_specialists"),
        (SetEngine("nonsense"), EngineError, "unknown_engine"),
        (SetLevel(7), EngineError, "bad_level"),
        (SetLevel(-1), SpecError, "bad_value"),
        (SetAttenuation(-3.0), SpecError, "bad_value"),
        (SetDevices(input="Yeti"), DeviceError, "no_mic"),
    ],
)
def test_what_cannot_be_done_is_refused_and_changes_nothing(command: Command, kind: type, name: str) -> None:
    device = FakeDevice(source=tone())
    denoiser = started(device)
    before = denoiser.snapshot.settings
    error = refusal(denoiser, device, command)
    assert isinstance(error, kind)
    assert getattr(error, "name", None) == name
    assert denoiser.snapshot.settings == before
    assert denoiser.snapshot.revision == 0
    assert device.opened["input"] == 1  # a name that means nothing closes nothing
    denoiser.stop()


def test_an_engine_change_is_crossfaded_and_shown() -> None:
    device = FakeDevice(source=tone())
    denoiser = started(device, Settings(engine="bypass"))
    future = denoiser.submit(SetEngine("levels"))
    device.advance(0.3)
    assert future.result(timeout=0).changed == {"engine": ("bypass", "levels")}
    assert denoiser.snapshot.engine.id == "levels"
    assert denoiser.snapshot.engine.level_count == 3
    assert clickiness(device.output[9600:]) < 0.01
    denoiser.stop()


def test_a_pinned_level_is_left_alone_until_it_is_released() -> None:
    device = FakeDevice(source=tone())
    denoiser = started(device)
    denoiser.submit(SetLevel(0, pin=True))
    device.advance(0.05)
    assert denoiser.snapshot.engine.level == 0
    assert denoiser.snapshot.engine.level_pinned
    assert denoiser.snapshot.origins["level"] == "pin"
    error = refusal(denoiser, device, SetLevel(1))
    assert getattr(error, "name", None) == "pinned"
    denoiser.submit(SetLevel(None))
    device.advance(0.05)
    assert denoiser.snapshot.engine.level == 2  # the best, until the governor says otherwise
    assert not denoiser.snapshot.engine.level_pinned
    denoiser.stop()


def test_a_wish_of_lower_rank_changes_nothing() -> None:
    device = FakeDevice(source=tone())
    denoiser = started(device)
    denoiser.submit(SetAttenuation(6.0), "command")
    lower = denoiser.submit(SetAttenuation(20.0), "profile")
    device.advance(0.05)
    assert lower.result(timeout=0).changed == {}
    assert denoiser.snapshot.settings.attenuation_db == 6.0
    denoiser.submit(SetGovernor("eco"), "profile")
    device.advance(0.05)
    assert denoiser.snapshot.settings.governor == "eco"
    denoiser.stop()


def test_a_change_of_microphone_keeps_the_output_and_its_name() -> None:
    device = FakeDevice(source=tone())
    denoiser = started(device)
    denoiser.submit(SetDevices(input="spare"))
    device.advance(0.3)
    assert denoiser.snapshot.input_device == "spare"
    assert device.opened == {"input": 2, "output": 1}
    denoiser.stop()


def test_a_microphone_that_refuses_leaves_the_old_one_running() -> None:
    device = FakeDevice(source=tone())
    denoiser = started(device)
    device.refuse("input", DeviceError("in use", name="device_busy"))
    error = refusal(denoiser, device, SetDevices(input="spare"))
    assert getattr(error, "name", None) == "device_busy"
    device.advance(0.5)
    assert denoiser.snapshot.input_device == "mic"
    assert denoiser.snapshot.settings.input == "auto"
    assert np.abs(device.output[-4800:]).max() > 0.1
    denoiser.stop()


def test_shutdown_is_answered_and_ends_the_wait() -> None:
    device = FakeDevice()
    denoiser = started(device)
    future = denoiser.submit(Shutdown())
    device.advance(0.05)
    future.result(timeout=0)
    assert denoiser.wait(0.0)
    denoiser.stop()
    assert denoiser.snapshot.state == "stopped"
    error = denoiser.submit(SetMute()).exception(timeout=0)
    assert isinstance(error, ControlError)
    assert error.name == "stopped"


def test_after_many_random_changes_the_state_is_that_of_a_fresh_start() -> None:
    device = FakeDevice(source=tone(), keep_output=True)
    denoiser = started(device, Settings(engine="bypass", attenuation_db=0.0))
    random = np.random.default_rng(4)
    delay = denoiser.snapshot.latency.total_ms
    for _ in range(300):
        choice = random.integers(5)
        commands: list[Command] = [
            SetBypass(bool(random.integers(2))),
            SetAttenuation(float(random.integers(0, 100))),
            SetEngine(["bypass", "levels"][random.integers(2)]),
            SetLevel(None if random.integers(2) else 0),
            SetMute(False),
        ]
        denoiser.submit(commands[choice])
        device.advance(float(random.uniform(0.0, 0.03)))
    device.advance(0.3)
    snapshot = denoiser.snapshot
    assert clickiness(device.output[9600:]) < 0.02
    assert snapshot.latency.total_ms == pytest.approx(delay, abs=0.5)
    fresh = Denoiser(snapshot.settings, device=FakeDevice(), engines=shelf())
    pipeline, new = denoiser._runner.pipeline, fresh._runner.pipeline
    assert (pipeline.engine.info.id, pipeline.level) == (new.engine.info.id, new.level)
    assert pipeline._mixer._dry.value == new._mixer._dry.value
    denoiser.stop()


# --- with real threads ------------------------------------------------------------------------------------------


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "noisy.wav"
    soundfile.write(path, noise(1.0), RATE, subtype="FLOAT")
    return path


def test_real_threads_answer_and_end(recording: Path) -> None:
    threads = set(threading.enumerate())
    with Denoiser(Settings(), device=FileDevice(recording, loop=True), engines=shelf()) as denoiser:
        assert denoiser.submit(SetBypass(True)).result(timeout=5.0).changed == {"bypass": (False, True)}
        assert denoiser.submit(SetEngine("levels")).result(timeout=5.0).changed == {"engine": ("auto", "levels")}
        assert isinstance(denoiser.submit(SetEngine("none")).exception(timeout=5.0), EngineError)
        deadline = time.monotonic() + 5.0
        while denoiser.snapshot.counters.hops < 20 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert denoiser.snapshot.counters.hops >= 20
    assert denoiser.snapshot.state == "stopped"
    assert set(threading.enumerate()) <= threads


def test_the_worker_never_frees_an_engine(recording: Path) -> None:
    """Freeing a network takes longer than a hop: each dies on another thread than the one that played it."""
    played, freed = [], []

    class Mortal(BypassEngine):
        def step(self, frame: Complex64s, out: Complex64s, level: int) -> None:
            played.append(threading.get_ident())
            super().step(frame, out, level)

        def __del__(self) -> None:
            freed.append(threading.get_ident())

    engines = shelf(mortal=Mortal)
    with Denoiser(Settings(engine="mortal"), device=FileDevice(recording, loop=True), engines=engines) as denoiser:
        for id in ("bypass", "mortal", "bypass", "mortal", "bypass", "mortal", "bypass"):
            denoiser.submit(SetEngine(id)).result(timeout=5.0)
            time.sleep(0.15)  # the change is over
        assert freed
        assert not set(freed) & set(played)


def test_s47_a_slow_engine_blocks_neither_bypass_nor_sound(recording: Path) -> None:
    gate = threading.Event()

    def slow() -> Engine:
        gate.wait(10.0)
        return BypassEngine()

    with Denoiser(Settings(), device=FileDevice(recording, loop=True), engines=shelf(slow=slow)) as denoiser:
        loading = denoiser.submit(SetEngine("slow"))
        assert denoiser.submit(SetBypass(True)).result(timeout=5.0).changed
        later = denoiser.submit(SetLevel(0))  # means a level of the engine that is being opened: it waits
        assert not loading.done()
        assert not later.done()
        gate.set()
        assert loading.result(timeout=5.0).hop_index <= later.result(timeout=5.0).hop_index


def test_answers_may_submit_again_from_their_callback(recording: Path) -> None:
    done = threading.Event()
    with Denoiser(Settings(), device=FileDevice(recording, loop=True), engines=shelf()) as denoiser:

        def chain(_: object) -> None:
            denoiser.submit(SetMute(True)).add_done_callback(lambda _: done.set())

        denoiser.submit(SetBypass(True)).add_done_callback(chain)
        assert done.wait(5.0)


def test_a_worker_that_dies_is_a_failure_that_is_said(recording: Path, caplog: pytest.LogCaptureFixture) -> None:
    def bug(_pipeline: object, _hop: int) -> None:
        raise KeyError("a bug of ours")

    with Denoiser(Settings(), device=FileDevice(recording, loop=True), engines=shelf()) as denoiser:
        denoiser._runner.post(bug)
        deadline = time.monotonic() + 5.0
        while denoiser.snapshot.state != "failed" and time.monotonic() < deadline:
            time.sleep(0.02)
        assert denoiser.snapshot.state == "failed"
        assert "a bug of ours" in denoiser.snapshot.reason
    assert "the worker ended" in caplog.text


def test_stopping_ends_what_still_waits(recording: Path) -> None:
    gate = threading.Event()

    def stuck() -> Engine:
        gate.wait(3.0)
        return BypassEngine()

    denoiser = Denoiser(Settings(), device=FileDevice(recording, loop=True), engines=shelf(stuck=stuck))
    denoiser.start()
    future = denoiser.submit(SetEngine("stuck"))
    threading.Timer(0.3, gate.set).start()
    denoiser.stop()
    assert future.exception(timeout=1.0) is not None or future.done()


def test_the_snapshot_is_plain_data() -> None:
    device = FakeDevice(source=tone())
    denoiser = started(device)
    plain = denoiser.snapshot.as_dict()
    assert plain["state"] == "running"
    assert plain["latency"]["total_ms"] == pytest.approx(16.0 + plain["latency"]["buffer_ms"] + 16.0)
    assert plain["meter_in"]["peak_db"] == pytest.approx(-10.5, abs=0.5)
    with pytest.raises(AttributeError):
        denoiser.snapshot.state = "failed"  # type: ignore[misc]
    spectrum = denoiser.spectrum()
    assert spectrum is not None
    assert int(np.argmax(spectrum[0])) == 32  # 1 kHz
    denoiser.stop()
    assert sys.getswitchinterval() >= 0.0005  # the library leaves the process alone
