"""The whole live path on a real sound server: PyAudio, PulseAudio, virtual microphone. Sound is verified, bit for bit.

A busy machine inserts gaps, so what must be exact is tried again; nothing here depends on how fast the machine is.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator

import numpy as np
import pytest

from pse_stream.dsp.spec import Float32s
from pse_stream.engines.wiener import WienerEngine
from pse_stream.errors import BusyError, DeviceError
from pse_stream.streaming.denoiser import Denoiser
from pse_stream.streaming.devices.base import StreamFormat
from pse_stream.streaming.devices.live import open_device
from pse_stream.streaming.devices.pulse import PulseDevice
from pse_stream.streaming.pipeline import Pipeline
from pse_stream.streaming.settings import SetDevices, Settings
from pse_stream.streaming.sound_server import SoundServer
from pse_stream.streaming.virtual_mic import VirtualMic

from ..conftest import ROOM
from ..soundcard import VirtualSoundcard
from .card_programs import PATIENCE_S, Recording, any_stretch_in, speak, until
from .stubs import HOP, RATE, noise, shelf

pytestmark = pytest.mark.soundcard

TRIES = 8


@pytest.fixture
def device(soundcard: VirtualSoundcard) -> Iterator[PulseDevice]:
    """The live device on the virtual card."""
    made = PulseDevice()
    yield made
    made.close()


def listen_while(denoiser: Denoiser, sound: Float32s) -> Float32s:
    """What a listener of the virtual microphone hears while `sound` is spoken."""
    with Recording() as listener:
        until(lambda: denoiser.snapshot.readers == 1, "the listener to be seen")
        speak(sound, ROOM.sink)
        time.sleep(0.7)
        return listener.heard()


def test_a_bypassed_voice_arrives_bit_for_bit(soundcard: VirtualSoundcard) -> None:
    sent = noise(1.5)
    for _ in range(TRIES):
        with Denoiser(Settings(bypass=True), device=PulseDevice(), engines=shelf()) as denoiser:
            time.sleep(0.3)
            if any_stretch_in(listen_while(denoiser, sent), sent, RATE // 4):
                return
    pytest.fail(f"not exact in {TRIES} tries")


class Copied(Pipeline):
    """Remembers what the microphone really gave, gaps of the cable included."""

    def __init__(self) -> None:
        super().__init__(RATE, WienerEngine(), attenuation_db=30.0)
        self.given: list[Float32s] = []

    def process(self, hop: Float32s, *, out: Float32s) -> None:
        self.given.append(hop.copy())
        super().process(hop, out=out)


def test_live_equals_offline_sample_for_sample(soundcard: VirtualSoundcard) -> None:
    spoken = np.concatenate([np.zeros(RATE // 2, np.float32), noise(1.5, seed=3)])
    for _ in range(TRIES):
        live = Copied()
        denoiser = Denoiser(Settings(engine="wiener", governor="off"), device=PulseDevice())
        denoiser._runner.pipeline = live
        with denoiser:
            time.sleep(0.3)
            heard = listen_while(denoiser, spoken)
        offline = Pipeline(RATE, WienerEngine(), attenuation_db=30.0)
        wanted = np.concatenate([np.zeros_like(hop) for hop in live.given])
        for at, hop in enumerate(live.given):
            offline.process(hop, out=wanted[at * HOP : (at + 1) * HOP])
        voice = int(np.argmax(np.abs(wanted) > 0.01))
        if any_stretch_in(heard, wanted[voice : voice + RATE], RATE // 4):
            return
    pytest.fail(f"live was not offline in {TRIES} tries")


def test_s32_the_virtual_microphone_is_a_source_with_a_name_and_no_monitor(
    soundcard: VirtualSoundcard, device: PulseDevice
) -> None:
    source = next(s for s in soundcard.list("sources") if s["name"] == "pse_mic")
    assert source["description"] == "Denoised Microphone"
    assert source["monitor_source"] == ""
    assert source["properties"]["device.class"] == "filter"
    assert source["sample_specification"] == "float32le 1ch 48000Hz"


def test_s35_the_defaults_are_the_same_before_during_and_after(soundcard: VirtualSoundcard) -> None:
    def defaults() -> list[str]:
        return [line for line in soundcard.pactl("info").splitlines() if line.startswith("Default S")]

    before, modules = defaults(), soundcard.modules()
    with Denoiser(Settings(), device=PulseDevice(), engines=shelf()):
        assert defaults() == before
        assert soundcard.listeners("room") == 1
    assert defaults() == before
    assert soundcard.modules() == modules
    assert soundcard.list("sink-inputs") == []
    assert soundcard.listeners("room") == 0


def test_s33_changes_of_microphone_keep_the_virtual_one(soundcard: VirtualSoundcard) -> None:
    with Denoiser(Settings(bypass=True), device=PulseDevice(), engines=shelf()) as denoiser:
        index = next(s["index"] for s in soundcard.list("sources") if s["name"] == "pse_mic")
        for name in ("desk", "stereo", "Room", "auto"):
            applied = denoiser.submit(SetDevices(input=name)).result(timeout=PATIENCE_S)
            assert "input" in applied.changed
        assert denoiser.snapshot.input_device == "room"
        assert next(s["index"] for s in soundcard.list("sources") if s["name"] == "pse_mic") == index
        assert soundcard.listeners("room") == 1
        assert soundcard.listeners("desk") == soundcard.listeners("stereo") == 0


def test_s41_our_own_virtual_microphone_is_refused_as_input_with_exit_code_4(soundcard: VirtualSoundcard) -> None:
    device = PulseDevice()
    with pytest.raises(DeviceError) as caught:
        Denoiser(Settings(input="Denoised Microphone"), device=device, engines=shelf()).start()
    assert (caught.value.name, caught.value.exit_code) == ("own_source", 4)
    assert not any("pse_mic" in line for line in soundcard.modules())  # nothing is left


def test_s07_a_stereo_microphone_is_opened_in_stereo(soundcard: VirtualSoundcard) -> None:
    with Denoiser(Settings(input="stereo"), device=PulseDevice(), engines=shelf()) as denoiser:
        assert denoiser._runner.inlet.channels == 2
        until(lambda: denoiser.snapshot.counters.hops > 20, "sound")


def test_a_configuration_that_was_swept_away_is_written_again(soundcard: VirtualSoundcard, device: PulseDevice) -> None:
    shutil.rmtree(device._alsa._folder)
    time.sleep(1.1)  # ALSA compares inodes, which are used again, and times in whole seconds
    stream = device.open_input("desk", HOP, lambda *_: None)
    stream.start()
    until(lambda: soundcard.listeners("desk") == 1, "the stream")
    stream.close()


def test_an_index_that_does_not_exist_is_an_error_and_no_crash(device: PulseDevice) -> None:
    form = StreamFormat(sample_rate=RATE, block=HOP)
    with pytest.raises(DeviceError, match="is not there"):
        device._audio.open("input", "no such PCM", form, lambda *_: None)


@pytest.mark.parametrize(("rate", "channels", "name"), [(400_000, 1, "bad_rate"), (48_000, 64, "bad_channels")])
def test_what_portaudio_refuses_is_said_in_words(device: PulseDevice, rate: int, channels: int, name: str) -> None:
    device._alsa.bind("input", "room")
    form = StreamFormat(sample_rate=rate, block=HOP, channels=channels)
    with pytest.raises(DeviceError, match='"the Yeti" cannot be opened: it does not take') as caught:
        device._audio.open("input", "pse_input", form, lambda *_: None, title="the Yeti")
    assert caught.value.name == name


def test_forty_openings_leak_nothing(soundcard: VirtualSoundcard, device: PulseDevice) -> None:
    def open_files() -> int:
        return len(os.listdir("/proc/self/fd"))

    def cycle() -> None:
        stream = device.open_input("room", HOP, lambda *_: None)
        stream.start()
        stream.close()

    for _ in range(3):
        cycle()
    before = open_files()
    for _ in range(40):
        cycle()
    assert open_files() <= before + 2
    assert soundcard.listeners("room") == 0


def test_s42_a_second_denoiser_of_one_name_is_refused_and_of_another_has_its_own_microphone(
    soundcard: VirtualSoundcard, device: PulseDevice
) -> None:
    with pytest.raises(BusyError, match="belongs to process") as caught:
        VirtualMic(SoundServer()).create()
    assert caught.value.exit_code == 8
    second = VirtualMic(SoundServer(), "studio")
    second.create()
    names = {s["description"] for s in soundcard.list("sources")}
    second.remove()
    assert {"Denoised Microphone", "Denoised Microphone (studio)"} <= names
    assert any("pse_mic_sink" in line for line in soundcard.modules())  # the first one is still there


def test_no_sound_server_is_said_in_words(soundcard: VirtualSoundcard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULSE_SERVER", "unix:/nonexistent/native")
    with pytest.raises(DeviceError, match="no sound server answers at unix:/nonexistent/native") as caught:
        open_device()
    assert (caught.value.name, caught.value.exit_code) == ("server_down", 4)
