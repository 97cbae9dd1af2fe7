"""The devices of this machine: the one place that knows which system it runs on."""

from __future__ import annotations

import sys
import time

from pse_stream.errors import DeviceError
from pse_stream.streaming.devices.base import Device
from pse_stream.streaming.virtual_mic import DEFAULT_INSTANCE

RETRY_S = 0.5


def open_device(*, instance: str = DEFAULT_INSTANCE, virtual_mic: bool = True, wait_s: float = 0.0) -> Device:
    """The sound server's devices on Linux, PortAudio's own elsewhere.

    Parameters
    ----------
    instance : str
        Two denoisers have two virtual microphones.
    virtual_mic : bool
        Play to a virtual microphone unless told otherwise.
    wait_s : float
        How long to wait for a sound server that is not there yet: after login it may come later than we do.

    Raises
    ------
    DeviceError
        If there is no sound server or no device.
    """
    end = time.monotonic() + wait_s
    while True:
        try:
            return _open(instance, virtual_mic)
        except DeviceError as error:
            if error.name != "server_down" or time.monotonic() >= end:
                raise
            time.sleep(RETRY_S)


def _open(instance: str, virtual_mic: bool) -> Device:
    if sys.platform.startswith("linux"):
        from pse_stream.streaming.devices.pulse import PulseDevice

        return PulseDevice(instance=instance, virtual_mic=virtual_mic)
    from pse_stream.streaming.devices.native import NativeDevice

    return NativeDevice(virtual_mic=virtual_mic)
