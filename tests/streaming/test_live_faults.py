"""Faults of a real sound server while sound flows: unplugged, moved, killed, muted; and our own death."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from pse_stream.streaming import diagnosis
from pse_stream.streaming.denoiser import Denoiser
from pse_stream.streaming.devices.live import open_device
from pse_stream.streaming.devices.pulse import PulseDevice
from pse_stream.streaming.settings import Settings
from pse_stream.streaming.sound_server import SoundServer
from pse_stream.streaming.virtual_mic import clean, leftovers

from ..conftest import DESK, ROOM, own_soundcard
from ..soundcard import VirtualSoundcard
from .card_programs import PATIENCE_S, Recording, Speaking, until
from .stubs import noise, shelf

pytestmark = pytest.mark.soundcard

soundcard = pytest.fixture(own_soundcard, name="soundcard")  # one for each test: a fault that stays is its own


@pytest.fixture
def denoiser(soundcard: VirtualSoundcard) -> Iterator[Denoiser]:
    """Running, with a listener (so that it does not pause) and somebody who speaks."""
    with (
        Denoiser(Settings(bypass=True, input="room"), device=PulseDevice(), engines=shelf()) as running,
        Recording(),
        Speaking(ROOM.sink, noise(1.0)),
    ):
        until(lambda: running.snapshot.readers == 1 and _sounds(running), "sound")
        yield running


def _sounds(denoiser: Denoiser) -> bool:
    return denoiser.snapshot.state in ("bypassed", "degraded") and denoiser.snapshot.meter_in.rms_db > -60.0


def test_s26_an_unplugged_microphone_is_silence_and_comes_back_by_its_name(
    soundcard: VirtualSoundcard, denoiser: Denoiser
) -> None:
    soundcard.unplug(ROOM)
    until(lambda: denoiser.snapshot.state == "stalled", "the loss to be noticed")
    assert '"room" was unplugged' in denoiser.snapshot.reason
    until(lambda: denoiser.snapshot.input_device == "", "the stream to be closed")
    with Recording() as listener:
        time.sleep(0.7)
        assert not listener.heard()[9600:].any()  # no sound of whatever the server put in its place
    soundcard.plug(ROOM)
    with Speaking(ROOM.sink, noise(1.0)):
        until(lambda: denoiser.snapshot.input_device == "room" and _sounds(denoiser), "the microphone to be back")


def test_s39_a_killed_and_restarted_server_gets_its_virtual_microphone_back(
    soundcard: VirtualSoundcard, denoiser: Denoiser
) -> None:
    soundcard.kill()
    try:
        until(lambda: "sound server" in denoiser.snapshot.reason, "the death to be noticed")
        assert denoiser.snapshot.state == "stalled"
    finally:
        soundcard.start()
    until(lambda: any(s["name"] == "pse_mic" for s in soundcard.list("sources")), "the virtual microphone")
    with Speaking(ROOM.sink, noise(1.0)), Recording() as listener:
        until(lambda: _sounds(denoiser), "sound")
        assert denoiser.snapshot.counters.reopened >= 1
        until(lambda: denoiser.snapshot.readers == 1, "the listener")
        time.sleep(0.7)
        assert np.abs(listener.heard()).max() > 0.05


def test_s30_a_server_that_comes_later_than_we_do_is_waited_for(soundcard: VirtualSoundcard) -> None:
    soundcard.stop()
    try:
        with ThreadPoolExecutor(1) as pool:  # the server must be started by this thread: it dies with its starter
            opening = pool.submit(open_device, wait_s=PATIENCE_S)
            time.sleep(1.0)
            assert not opening.done()
            soundcard.start()
            device = opening.result(timeout=PATIENCE_S)
    finally:
        soundcard.stop()
        soundcard.start()
    device.close()
    assert device.virtual_mic == "Denoised Microphone"


def test_s34_an_output_moved_to_the_loudspeaker_is_silent_and_taken_back(
    soundcard: VirtualSoundcard, denoiser: Denoiser
) -> None:
    def sink() -> str:
        names = {s["index"]: s["name"] for s in soundcard.list("sinks")}
        return next((names[i["sink"]] for i in soundcard.list("sink-inputs") if _pid(i) == os.getpid()), "")

    ours = next(i for i in soundcard.list("sink-inputs") if _pid(i) == os.getpid())
    with Recording("speaker") as listener:
        soundcard.pactl("move-sink-input", str(ours["index"]), "speaker_sink")
        # By us, or by the ALSA plug-in, which sometimes connects anew by itself when it is moved.
        until(lambda: sink() == "pse_mic_sink" and _sounds(denoiser), "the stream to be taken back")
        heard = listener.heard()
    loud = np.flatnonzero(np.abs(heard) > 0.02)
    assert len(loud) == 0 or (loud[-1] - loud[0]) / 48_000 < 2.0  # a moment, not a howl


def test_s41_a_microphone_moved_to_our_own_output_is_taken_back(
    soundcard: VirtualSoundcard, denoiser: Denoiser
) -> None:
    ours = next(o for o in soundcard.list("source-outputs") if _pid(o) == os.getpid())
    soundcard.pactl("move-source-output", str(ours["index"]), "pse_mic")
    until(lambda: denoiser.snapshot.counters.reopened >= 1, "the stream to be taken back")
    until(lambda: _sounds(denoiser) and denoiser.device.facts().input_attached == "room", "sound from the room")


def test_a_person_who_moves_the_stream_in_the_mixer_is_obeyed(soundcard: VirtualSoundcard, denoiser: Denoiser) -> None:
    ours = next(o for o in soundcard.list("source-outputs") if _pid(o) == os.getpid())
    soundcard.pactl("move-source-output", str(ours["index"]), DESK.name)
    until(lambda: denoiser.snapshot.input_device == "desk", "the change to be accepted")
    assert denoiser.snapshot.counters.reopened == 0


def test_s38_mute_and_volume_in_the_mixer_are_told(soundcard: VirtualSoundcard, denoiser: Denoiser) -> None:
    soundcard.pactl("set-source-mute", "room", "1")
    until(lambda: "muted in the mixer" in denoiser.snapshot.reason, "the mute to be told")
    assert denoiser.snapshot.state == "degraded"
    soundcard.pactl("set-source-mute", "room", "0")
    soundcard.pactl("set-source-volume", "room", "50%")
    until(lambda: any("50 %" in event for event in denoiser.snapshot.events), "the volume to be told")
    soundcard.pactl("set-source-volume", "room", "100%")
    until(lambda: _sounds(denoiser), "sound")


def test_a_suspended_source_is_named_and_comes_back(soundcard: VirtualSoundcard, denoiser: Denoiser) -> None:
    soundcard.pactl("suspend-source", "room", "1")
    until(lambda: denoiser.snapshot.state == "stalled" and "suspended" in denoiser.snapshot.reason, "the reason")
    soundcard.pactl("suspend-source", "room", "0")
    until(lambda: _sounds(denoiser), "sound")


def test_a_frozen_server_costs_a_gap_and_no_delay(soundcard: VirtualSoundcard, denoiser: Denoiser) -> None:
    soundcard.freeze(1.5)
    until(lambda: _sounds(denoiser), "sound")
    until(lambda: denoiser.snapshot.latency.buffer_ms < 40.0, "the normal delay")


def test_s28_s45_nobody_listens_so_the_microphone_is_closed_and_somebody_does_so_it_opens(
    soundcard: VirtualSoundcard,
) -> None:
    with Denoiser(Settings(bypass=True, input="room"), device=PulseDevice(), engines=shelf()) as denoiser:
        until(lambda: denoiser.snapshot.state == "paused", "the pause", diagnosis.PAUSE_S + 15.0)
        until(lambda: soundcard.listeners("room") == 0, "the microphone to be closed")
        hops = denoiser.snapshot.counters.hops
        time.sleep(0.5)
        assert denoiser.snapshot.counters.hops == hops
        with Speaking(ROOM.sink, noise(1.0)), Recording() as listener:
            until(lambda: _sounds(denoiser), "sound")
            time.sleep(0.5)
            assert np.abs(listener.heard()).max() > 0.05


def test_s36_after_a_kill_only_our_own_leftovers_are_removed(soundcard: VirtualSoundcard) -> None:
    before = soundcard.modules()
    program = (
        "import sys, time\n"
        "from pse_stream.streaming.sound_server import SoundServer\n"
        "from pse_stream.streaming.virtual_mic import VirtualMic\n"
        "VirtualMic(SoundServer(), sys.argv[1]).create()\n"
        "print('made', flush=True)\n"
        "time.sleep(60)\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", program, name], stdout=subprocess.PIPE, text=True)
        for name in ("default", "other")
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "made\n"
        killed, alive = processes
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert [(found.name, found.pid) for found in leftovers(SoundServer())] == [("pse_mic", killed.pid)]
        assert [found.name for found in clean(SoundServer())] == ["pse_mic"]
        assert leftovers(SoundServer()) == []
        names = [s["name"] for s in soundcard.list("sources")]
        assert "pse_mic" not in names
        assert "pse_mic_other" in names  # its owner lives
        assert {line.split("\t", 1)[1] for line in before} <= {line.split("\t", 1)[1] for line in soundcard.modules()}
        alive.kill()
        alive.wait()
        with Denoiser(Settings(), device=PulseDevice(), engines=shelf()):  # a start cleans up as well
            names = [s["name"] for s in soundcard.list("sources")]
            assert names.count("pse_mic") == 1
            assert "pse_mic_other" not in names
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert soundcard.modules() == before


def _pid(row: dict[str, dict[str, str]]) -> int:
    return int(row["properties"].get("application.process.id", "0"))
