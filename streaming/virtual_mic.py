"""The virtual microphone: a source that browsers list, made, owned and removed by us.

A null sink takes our sound; its monitor is published again as a proper source, because browsers hide monitors. Modules
outlive the program that loaded them, so each carries its owner's process id and start time; a leftover is a pair whose
owner is dead, and only that is ever removed. The default devices are not touched.

Recipe measured on PulseAudio 16 and PipeWire 0.3.65: without `norewinds` a null sink renders two seconds ahead; without
rate, channels and map on both, PipeWire makes the source stereo; without the double quotes around the properties and
the single quotes inside, it cuts the name at the first blank.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from pse_stream.errors import BusyError, DeviceError
from pse_stream.streaming.sound_server import OUR_ID, SoundServer

DESCRIPTION = "Denoised Microphone"
BASE_NAME = "pse_mic"
DEFAULT_INSTANCE = "default"
_SINK = re.compile(r"(?:^| )sink_name=(pse_mic\S*)_sink(?: |$)")
_OWNER = re.compile(r"pse\.pid='(\d+)' pse\.start='(\d+)'")

#: Other systems have a driver that a person installs; what to look for and what to choose in other programs.
LOOPBACKS = {"darwin": ("BlackHole", "BlackHole 2ch"), "win32": ("CABLE Input", "CABLE Output")}


@dataclass(frozen=True, slots=True)
class Leftover:
    """A virtual microphone whose owner is dead."""

    name: str
    pid: int
    module: int


class VirtualMic:
    """One virtual microphone.

    Parameters
    ----------
    server : SoundServer
    instance : str
        Two denoisers have two microphones.
    rate : int
        Hz.
    """

    def __init__(self, server: SoundServer, instance: str = DEFAULT_INSTANCE, rate: int = 48_000) -> None:
        plain = instance == DEFAULT_INSTANCE
        self.source = BASE_NAME if plain else f"{BASE_NAME}_{instance}"
        self.sink = f"{self.source}_sink"
        self.title = DESCRIPTION if plain else f"{DESCRIPTION} ({instance})"
        self._server, self._rate = server, rate
        self._modules: list[int] = []  # in the order of loading

    def create(self) -> None:
        """Make it, after removing leftovers of dead owners.

        Raises
        ------
        BusyError
            If another living process owns one of this name.
        DeviceError
            If the server refuses.
        """
        clean(self._server)
        for _, name, arguments in self._server.modules():
            if name == "module-null-sink" and f"sink_name={self.sink} " in f"{arguments} ":
                raise BusyError(f'the virtual microphone "{self.title}" belongs to process {_owner(arguments)[0]}.')
        spec = [f"rate={self._rate}", "channels=1", "channel_map=mono"]
        owner = f"application.id='{OUR_ID}' pse.pid='{os.getpid()}' pse.start='{start_time(os.getpid())}'"
        try:
            self._modules.append(
                self._server.load_module(
                    "module-null-sink",
                    f"sink_name={self.sink}",
                    "format=float32le",
                    *spec,
                    "norewinds=1",
                    f"sink_properties=\"device.description='{self.title} (feed)' {owner}\"",
                )
            )
            self._modules.append(
                self._server.load_module(
                    "module-remap-source",
                    f"source_name={self.source}",
                    f"master={self.sink}.monitor",
                    *spec,
                    "remix=no",
                    f"source_properties=\"device.description='{self.title}' {owner}\"",
                )
            )
        except BaseException:
            self.remove()
            raise

    def exists(self) -> bool:
        """True while the server knows both halves that we made."""
        if len(self._modules) != 2:
            return False
        known = {index for index, _, arguments in self._server.modules() if self.source in arguments}
        return known >= set(self._modules)

    def remove(self) -> None:
        """Take away what `create` made, as far as it is still there."""
        known = {index for index, _, arguments in self._known() if self.source in arguments}
        for index in reversed(self._modules):
            if index in known:
                _unload(self._server, index)
        self._modules.clear()

    def _known(self) -> list[tuple[int, str, str]]:
        try:
            return self._server.modules()
        except DeviceError:
            return []  # the server is gone, and the modules with it


def leftovers(server: SoundServer) -> list[Leftover]:
    """Virtual microphones of ours whose owner is dead."""
    found = []
    for index, name, arguments in server.modules():
        sink = _SINK.search(arguments)
        pid, started = _owner(arguments)
        if name == "module-null-sink" and sink and f"application.id='{OUR_ID}'" in arguments:
            if pid and start_time(pid) == started:
                continue  # alive: somebody's microphone
            found.append(Leftover(sink[1], pid, index))
    return found


def clean(server: SoundServer) -> list[Leftover]:
    """Remove the leftovers; what was removed."""
    found = leftovers(server)
    for leftover in found:
        for index, name, arguments in server.modules():
            if name == "module-remap-source" and f"master={leftover.name}_sink.monitor " in f"{arguments} ":
                _unload(server, index)
        _unload(server, leftover.module)
    return found


def start_time(pid: int) -> int:
    """When a process began, in clock ticks since boot (Linux); 0 if there is none. A pid alone may be used again."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(text.rpartition(")")[2].split()[19])  # field 22; the program's name may hold blanks


def find_loopback(names: list[str]) -> tuple[str, str] | None:
    """Other systems: the output to play to and what to choose as microphone elsewhere; None if there is no driver."""
    wanted = LOOPBACKS.get(sys.platform)
    if wanted is None:
        return None
    found = [name for name in names if name.startswith(wanted[0])]
    return (found[0], found[0] if sys.platform == "darwin" else wanted[1]) if found else None


def _owner(arguments: str) -> tuple[int, int]:
    """Process id and start time of who loaded a module; zeros if it does not say."""
    match = _OWNER.search(arguments)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _unload(server: SoundServer, index: int) -> None:
    try:
        server.unload_module(index)
    except DeviceError as error:
        if error.name == "server_down":
            raise
        # Unloading a sink takes the modules that hang on it along: gone is what was wanted.
