"""The recorder: what the worker heard is on disk, and whatever the disk does, the worker never waits."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pse_stream.dsp.spec import Float32s
from pse_stream.errors import ConfigError, ConsentError
from pse_stream.profiles.consent import agree
from pse_stream.profiles.folders import profiles_folder
from pse_stream.profiles.profile import Profile, rewrite_profile
from pse_stream.profiles.session_writer import RecordingStopped, SessionWriter
from pse_stream.profiles.sessions import list_sessions, open_session
from pse_stream.profiles.store import new_profile
from pse_stream.streaming.denoiser import Denoiser
from pse_stream.streaming.devices.fake import FakeDevice
from pse_stream.streaming.recorder import QUEUE_HOPS, Heard, HopQueue, Recorder
from pse_stream.streaming.settings import SetBypass, SetEngine, SetProfile, SetRecording, Settings

from ..profiles.people import LONG_AGO, record
from .stubs import HOP, RATE, clickiness, noise, shelf, tone

STEP = 2**-15


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS"):
        monkeypatch.setenv(name, str(tmp_path / name))
    return tmp_path


@pytest.fixture
def bob() -> Profile:
    profile = new_profile("bob")
    agree(profile, "record", by="a test")
    return profile


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def running(profile: str | None, device: FakeDevice, **more: Any) -> Denoiser:
    settings = Settings(engine="bypass", profile=profile, attenuation_db=100.0)
    denoiser = Denoiser(settings, device=device, engines=shelf(), **more)
    denoiser.start()
    device.advance(0.3)
    return denoiser


def test_input_output_and_decisions_are_recorded_hop_for_hop(bob: Profile) -> None:
    sent = noise(4.0)
    device = FakeDevice(source=sent)
    denoiser = running("bob", device)
    started = denoiser.submit(SetRecording(True))
    device.advance(1.0)
    applied = started.result(timeout=0)
    assert applied.changed == {"recording": (False, True)}
    assert denoiser.snapshot.recording
    denoiser.submit(SetEngine("levels"))
    device.advance(0.5)
    bypassed = denoiser.submit(SetBypass(True))
    device.advance(0.5)
    denoiser.submit(SetRecording(False))
    device.advance(0.1)
    assert not denoiser.snapshot.recording
    denoiser.stop()
    session = open_session(bob, "last")
    heard = session.read("input")
    first = applied.hop_index * HOP
    windows = np.lib.stride_tricks.sliding_window_view(sent, 8)
    at = int(np.flatnonzero(np.abs(windows - heard[:8]).max(axis=1) < STEP)[0])
    np.testing.assert_allclose(heard, sent[at : at + len(heard)], atol=STEP)
    assert at == pytest.approx(first, abs=RATE // 10)
    lines = list(session.decisions())
    assert (lines[0]["hop"], lines[0]["engine"], lines[0]["bypass"]) == (0, "bypass", False)
    assert "levels" in [line.get("engine") for line in lines]
    told = next(line["hop"] for line in lines if line.get("bypass") is True)
    assert told == bypassed.result(timeout=0).hop_index - applied.hop_index
    after = session.read("output")[(told + 12) * HOP :]
    np.testing.assert_allclose(after, heard[(told + 11) * HOP : -HOP], atol=2 * STEP)  # bypass: the input, a hop later


def test_without_consent_not_one_byte_is_written() -> None:
    profile = new_profile("eve")
    rewrite_profile(profile, {("logging", "consent"): True})  # not enough by itself
    before = bytes_of(profiles_folder())
    device = FakeDevice(source=tone())
    denoiser = running("eve", device, record=True)
    future = denoiser.submit(SetRecording(True))
    device.advance(2.0)
    error = future.exception(timeout=0)
    assert isinstance(error, ConsentError)
    assert any("not recorded" in event and "never agreed" in event for event in denoiser.snapshot.events)
    assert not denoiser.snapshot.recording
    denoiser.stop()
    assert bytes_of(profiles_folder()) == before
    assert np.abs(device.output[-4800:]).max() > 0.1


def test_nobody_cannot_be_recorded() -> None:
    device = FakeDevice(source=tone())
    denoiser = running(None, device)
    future = denoiser.submit(SetRecording(True))
    device.advance(0.1)
    assert isinstance(future.exception(timeout=0), ConfigError)
    denoiser.stop()
    assert not profiles_folder().exists()


def test_a_profile_that_says_so_is_recorded_from_the_start_and_again_after_a_switch(bob: Profile) -> None:
    rewrite_profile(bob, {("logging", "consent"): True})
    new_profile("eve")
    device = FakeDevice(source=tone())
    denoiser = running("bob", device, record=True)
    assert denoiser.snapshot.recording
    denoiser.submit(SetProfile("eve"))
    device.advance(0.3)
    assert not denoiser.snapshot.recording  # what Eve says is not Bob's
    hops_of_bob = open_session(bob, "last").seconds
    device.advance(0.5)
    assert open_session(bob, "last").seconds == hops_of_bob
    denoiser.submit(SetProfile("bob"))
    device.advance(0.3)
    assert denoiser.snapshot.recording
    denoiser.stop()
    assert [session.state for session in list_sessions(bob)] == ["whole", "whole"]
    assert not (profiles_folder() / "eve" / "sessions").exists()


def test_old_sessions_go_when_their_profile_comes_into_use(bob: Profile) -> None:
    rewrite_profile(bob, {("logging", "keep_days"): 1})
    for name in ("start", "switch"):
        record(bob, began=LONG_AGO)
        assert len(list_sessions(bob)) == 1
        device = FakeDevice(source=tone())
        denoiser = running("bob" if name == "start" else None, device)
        if name == "switch":
            denoiser.submit(SetProfile("bob"))
            device.advance(0.1)
            assert "profile bob is in use, engine auto" in denoiser.snapshot.events
        assert list_sessions(bob) == []
        denoiser.stop()


def test_starting_and_stopping_twice_is_once(bob: Profile) -> None:
    device = FakeDevice(source=tone())
    denoiser = running("bob", device)
    futures = [denoiser.submit(SetRecording(on)) for on in (True, True, False, False)]
    device.advance(0.1)
    assert [bool(future.result(timeout=0).changed) for future in futures] == [True, False, True, False]
    assert denoiser.snapshot.revision == 2
    denoiser.stop()
    assert len(list_sessions(bob)) <= 1


def test_a_full_disk_ends_the_recording_with_an_event_and_sound_goes_on(bob: Profile) -> None:
    device = FakeDevice(source=tone(), sample_rate=8_000)
    denoiser = running("bob", device)
    denoiser.submit(SetRecording(True))
    device.advance(12.0)
    shutil.rmtree(bob.sessions)  # as a disk that is gone
    device.advance(12.0)
    now = denoiser.snapshot
    assert not now.recording
    assert any(event.startswith("recording stopped: ") and "Sound goes on" in event for event in now.events)
    assert now.counters.dropped_hops == now.counters.underruns == 0
    assert clickiness(device.output[4_000:]) < 0.01
    denoiser.stop()
    assert not bob.sessions.exists()


class SlowWriter(SessionWriter):
    """A disk that does not answer until it is let."""

    def __init__(self, gate: threading.Event, **more: Any) -> None:
        super().__init__(**more)
        self.gate = gate

    def write(self, noisy: Float32s, clean: Float32s) -> None:
        assert self.gate.wait(20)
        super().write(noisy, clean)


@pytest.fixture
def slow(bob: Profile) -> Iterator[tuple[Recorder, threading.Event]]:
    from datetime import UTC, datetime

    gate = threading.Event()
    writer = SlowWriter(
        gate, folder=bob.sessions / "2026-05-02T101112Z", sample_rate=RATE, facts={}, began=datetime.now(UTC)
    )
    recorder = Recorder(bob, sample_rate=RATE, hop=HOP, describe=lambda heard: {"report": heard.report}, writer=writer)
    recorder.start()
    yield recorder, gate
    gate.set()
    recorder.stop()


def test_a_slow_disk_costs_hops_of_the_recording_not_of_the_worker(
    slow: tuple[Recorder, threading.Event], bob: Profile
) -> None:
    recorder, gate = slow
    hops = 2 * QUEUE_HOPS
    sound = noise(hops * 0.008)
    report = "held"
    longest = 0.0
    for index in range(hops):
        part = sound[index * HOP : (index + 1) * HOP]
        began = time.thread_time()
        recorder.tap(index, part, part, report)
        longest = max(longest, time.thread_time() - began)
    assert recorder.lost_hops == hops - QUEUE_HOPS
    assert longest < 0.004  # of 8 ms, on a busy machine; the disk had not answered at all
    gate.set()
    part = sound[-HOP:]
    until = time.monotonic() + 20
    while recorder.writer.hops < QUEUE_HOPS and time.monotonic() < until:
        time.sleep(0.05)
    recorder.tap(hops, part, part, report)
    recorder.stop()
    session = open_session(bob, "last")
    heard = session.read("input")
    assert len(heard) == (hops + 1) * HOP  # times stay right
    np.testing.assert_allclose(heard[: QUEUE_HOPS * HOP], sound[: QUEUE_HOPS * HOP], atol=STEP)
    assert not heard[QUEUE_HOPS * HOP : hops * HOP].any()
    np.testing.assert_allclose(heard[hops * HOP :], part, atol=STEP)
    left_out = [line for line in session.decisions() if line.get("event") == "left out"]
    assert [(line["hop"], line["hops"]) for line in left_out] == [(QUEUE_HOPS, hops - QUEUE_HOPS)]


def test_a_session_that_fills_the_quota_ends_and_older_ones_make_room(bob: Profile) -> None:
    small = rewrite_profile(bob, {("logging", "max_gib"): 600_000 / 2**30})
    recorder = Recorder(small, sample_rate=RATE, hop=HOP, describe=lambda _heard: {}, threaded=False)
    sound = noise(10.0)
    for index in range(1250):
        part = sound[index * HOP : (index + 1) * HOP]
        recorder.tap(index, part, part, None)
    recorder.stop()
    assert "reached the limit" in recorder.problem
    assert open_session(small, "last").state == "whole"


def test_the_queue_gives_back_what_was_put_in_whatever_the_pace() -> None:
    queue, random = HopQueue(4, capacity=7), np.random.default_rng(0)
    put, got = [], []
    index = 0
    for _ in range(200):
        for _ in range(random.integers(5)):
            block = random.standard_normal(4).astype(np.float32)
            if queue.put(index, block, -block, Heard(index, None)):
                put.append((index, block[0]))
            index += 1
        for _ in range(random.integers(3)):
            at = queue.waiting()
            got += [(queue.index[k], queue.noisy[k, 0]) for k in range(at.start, at.stop)]
            assert all(queue.clean[k, 0] == -queue.noisy[k, 0] for k in range(at.start, at.stop))
            queue.free(at.stop - at.start)
    assert got == put[: len(got)]
    assert len(put) < index  # it was full at times
    assert len(got) > 100


class FailingWriter(SessionWriter):
    """Something that nobody thought of."""

    def write(self, noisy: Float32s, clean: Float32s) -> None:
        raise MemoryError("no more")


def test_whatever_the_writer_raises_stays_in_the_recorder(bob: Profile, caplog: pytest.LogCaptureFixture) -> None:
    from datetime import UTC, datetime

    writer = FailingWriter(bob.sessions / "x", sample_rate=RATE, facts={}, began=datetime.now(UTC))
    recorder = Recorder(bob, sample_rate=RATE, hop=HOP, describe=lambda _: {}, threaded=False, writer=writer)
    block = np.zeros(HOP, np.float32)
    for index in range(3):
        recorder.tap(index, block, block, SimpleNamespace())
    assert "MemoryError: no more" in recorder.problem
    assert "the recorder failed" in caplog.text
    assert not isinstance(recorder.problem, RecordingStopped)
