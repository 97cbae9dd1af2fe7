"""A private ALSA configuration with two devices: the microphone and the output that we want, and nothing else.

PortAudio reaches the sound server's devices only as PCMs of the ALSA configuration, lists them once, and offers a
desktop user `default` at best. So we write the configuration: two PCMs under fixed names, each bound to one of the
server's devices. ALSA reads the file again when it was replaced, so another microphone needs another file and no new
look at the devices (which would mean closing every stream); and PortAudio, which probes whatever it finds, finds no
headset to wake. Two more lessons: `default` must exist, or PortAudio 19.6 aborts the process; and with a file of our
own the eighty lines of "Unknown PCM" on stderr are gone.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import psutil

from pse_stream.errors import DeviceError
from pse_stream.streaming.devices.base import Direction

PCM = {"input": "pse_input", "output": "pse_output"}
_VARIABLE = "ALSA_CONFIG_PATH"
_PREFIX = "pse-stream-alsa-"  # then the owner's process id: what a killed run left behind is swept by the next one


class AlsaConfig:
    """Own the file and the environment variable that names it."""

    def __init__(self) -> None:
        sweep()
        self._folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
        self._path = self._folder / "asound.conf"
        self._devices: dict[Direction, str] = {"input": "@DEFAULT_SOURCE@", "output": "@DEFAULT_SINK@"}
        self._saved = os.environ.get(_VARIABLE)
        self._write()
        os.environ[_VARIABLE] = str(self._path)

    def bind(self, direction: Direction, device: str) -> None:
        """Let the PCM of this direction mean one of the server's devices.

        Raises
        ------
        DeviceError
            If the name could not be written in the configuration.
        """
        if '"' in device or "\n" in device:
            raise DeviceError(f"the device name {device!r} cannot be used: it holds a quote or a line end.")
        # Systems sweep their temporary folders: in a week the file may be gone.
        if self._devices[direction] != device or not self._path.exists():
            self._devices[direction] = device
            self._write()

    def remove(self) -> None:
        """Take the file away and put the variable back."""
        if os.environ.get(_VARIABLE) == str(self._path):
            if self._saved is None:
                del os.environ[_VARIABLE]
            else:
                os.environ[_VARIABLE] = self._saved
        shutil.rmtree(self._folder, ignore_errors=True)

    def _write(self) -> None:
        lines = [f'pcm.{PCM[way]} {{ type pulse device "{device}" }}' for way, device in self._devices.items()]
        lines.append(f'pcm.default {{ type asym playback.pcm "{PCM["output"]}" capture.pcm "{PCM["input"]}" }}')
        self._folder.mkdir(mode=0o700, exist_ok=True)
        draft = self._path.with_suffix(".new")
        draft.write_text("\n".join(lines) + "\n")
        draft.replace(self._path)  # a new inode: ALSA compares times in whole seconds only


def sweep() -> None:
    """Remove the folders of processes that are gone; those of other users cannot be, and stay."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*"):
        owner = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if owner.isdecimal() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)
