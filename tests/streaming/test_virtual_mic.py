"""Making, owning and removing the virtual microphone, on a sound server made of a list."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest

from pse_stream.errors import BusyError, DeviceError
from pse_stream.streaming.sound_server import SoundServer
from pse_stream.streaming.virtual_mic import VirtualMic, clean, find_loopback, leftovers, start_time

DEAD = 2**22 + 1  # above every pid of Linux


class Fake:
    """Knows modules and nothing else."""

    def __init__(self, *modules: tuple[str, str]) -> None:
        self.modules = dict(enumerate(modules))
        self.refuses = ""

    def run(self, words: Sequence[str]) -> str:
        if words[0] == "load-module":
            if words[1] == self.refuses:
                raise DeviceError("the sound server refused", name="server")
            index = max(self.modules, default=-1) + 1
            self.modules[index] = (words[1], " ".join(words[2:]))
            return f"{index}\n"
        if words[0] == "unload-module":
            if int(words[1]) not in self.modules:
                raise DeviceError("No such entity", name="server")
            del self.modules[int(words[1])]
            return ""
        return "".join(f"{index}\t{name}\t{text}\t\n" for index, (name, text) in self.modules.items())

    @property
    def server(self) -> SoundServer:
        return SoundServer(self.run)


def pair(name: str, pid: int, start: int) -> list[tuple[str, str]]:
    """What a denoiser of another process has loaded."""
    owner = f"application.id='pse-stream' pse.pid='{pid}' pse.start='{start}'"
    return [
        ("module-null-sink", f"sink_name={name}_sink rate=48000 sink_properties=\"device.description='x' {owner}\""),
        ("module-remap-source", f"source_name={name} master={name}_sink.monitor rate=48000"),
    ]


FOREIGN = [
    ("module-null-sink", "sink_name=pse_mic_sink_of_mine rate=48000"),
    ("module-null-sink", "sink_name=virtual rate=48000"),
    ("module-remap-source", "source_name=cable master=virtual.monitor"),
]


def test_what_is_made_is_removed_and_nothing_else() -> None:
    fake = Fake(*FOREIGN)
    mic = VirtualMic(fake.server)
    mic.create()
    assert mic.exists()
    texts = [text for _, text in fake.modules.values()]
    assert any("norewinds=1" in text and "device.description='Denoised Microphone (feed)'" in text for text in texts)
    assert any("remix=no" in text and "device.description='Denoised Microphone' " in text for text in texts)
    mic.remove()
    assert list(fake.modules.values()) == FOREIGN
    assert not mic.exists()
    mic.remove()  # twice is allowed


def test_a_refused_second_half_takes_the_first_along() -> None:
    fake = Fake(*FOREIGN)
    fake.refuses = "module-remap-source"
    with pytest.raises(DeviceError):
        VirtualMic(fake.server).create()
    assert list(fake.modules.values()) == FOREIGN


def test_s36_only_what_a_dead_owner_left_is_a_leftover() -> None:
    alive = os.getppid()
    fake = Fake(*FOREIGN, *pair("pse_mic", DEAD, 5), *pair("pse_mic_b", alive, start_time(alive)))
    assert [(left.name, left.pid) for left in leftovers(fake.server)] == [("pse_mic", DEAD)]
    clean(fake.server)
    assert list(fake.modules.values()) == [*FOREIGN, *pair("pse_mic_b", alive, start_time(alive))]


def test_a_process_id_that_was_used_again_is_not_the_owner() -> None:
    fake = Fake(*pair("pse_mic", os.getppid(), start_time(os.getppid()) + 1))
    assert len(leftovers(fake.server)) == 1


def test_s42_a_living_owner_keeps_its_microphone() -> None:
    fake = Fake(*pair("pse_mic", os.getppid(), start_time(os.getppid())))
    with pytest.raises(BusyError, match=f"belongs to process {os.getppid()}"):
        VirtualMic(fake.server).create()
    assert len(fake.modules) == 2


def test_a_start_removes_the_leftover_of_its_own_name_first() -> None:
    fake = Fake(*pair("pse_mic", DEAD, 5))
    VirtualMic(fake.server).create()
    assert sum(name == "module-null-sink" for name, _ in fake.modules.values()) == 1
    assert not leftovers(fake.server)


def test_start_times_tell_processes_apart() -> None:
    assert start_time(os.getpid()) >= start_time(os.getppid()) > 0
    assert start_time(DEAD) == 0


@pytest.mark.parametrize(
    ("platform", "names", "found"),
    [
        ("darwin", ["MacBook Speakers", "BlackHole 2ch"], ("BlackHole 2ch", "BlackHole 2ch")),
        ("win32", ["CABLE Input (VB-Audio Virtual Cable)"], ("CABLE Input (VB-Audio Virtual Cable)", "CABLE Output")),
        ("darwin", ["MacBook Speakers"], None),
        ("linux", ["BlackHole 2ch"], None),
    ],
)
def test_other_systems_are_told_what_to_choose(
    monkeypatch: pytest.MonkeyPatch, platform: str, names: list[str], found: tuple[str, str] | None
) -> None:
    monkeypatch.setattr("sys.platform", platform)
    assert find_loopback(names) == found
