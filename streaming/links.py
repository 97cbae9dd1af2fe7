"""The two streams of a denoiser: open, close and open again, one at a time.

Only the owner thread calls this (see `owner.py`), because an audio library's open and close must never meet.
"""

from __future__ import annotations

import logging

from pse_stream.streaming.devices.base import Device, Stream
from pse_stream.streaming.runner import Runner
from pse_stream.streaming.settings import Settings

log = logging.getLogger(__name__)


class Links:
    """From a device's streams to a runner's rings.

    Parameters
    ----------
    device : Device
    runner : Runner
    """

    def __init__(self, device: Device, runner: Runner) -> None:
        self.device, self.runner = device, runner
        self.input: Stream | None = None
        self.output: Stream | None = None
        self.last_input = ""  # name of the microphone that was open last

    def open(self, settings: Settings) -> None:
        """Open and start both, the output first, so that nothing that is said is lost.

        Raises
        ------
        DeviceError
            If either cannot be opened; then neither is open.
        """
        try:
            self.open_output(settings)
            self.open_input(settings)
        except BaseException:
            self.close()
            raise

    def open_input(self, settings: Settings) -> None:
        """Open and start the microphone.

        Raises
        ------
        DeviceError
            If it cannot be opened.
        """
        self.close_input()
        stream = self.device.open_input(settings.input, self.runner.hop, self._receive)
        self._inlet = self.runner.connect_input(stream.format.channels, settings.channels)
        self.input, self.last_input = stream, stream.name
        stream.start()

    def open_output(self, settings: Settings) -> None:
        """Open and start the virtual microphone or another output.

        Raises
        ------
        DeviceError
            If it cannot be opened.
        """
        self.close_output()
        stream = self.device.open_output(settings.output, self.runner.hop, self._give)
        self._outlet = self.runner.connect_output(stream.format.channels)
        self.output = stream
        stream.start()

    def adopt_input(self, name: str | None) -> None:
        """The server connected the open stream to another microphone, and that is accepted."""
        if self.input is not None and name is not None:
            self.input.name = self.last_input = name

    def close_input(self) -> None:
        """Give the microphone back."""
        stream, self.input = self.input, None
        if stream is not None:
            stream.close()
            self.runner.restart(forget=True)  # what comes next has nothing to do with what came before

    def close_output(self) -> None:
        """Give the output back."""
        stream, self.output = self.output, None
        if stream is not None:
            stream.close()

    def close(self) -> None:
        """Give both back, whatever one of them says."""
        try:
            self.close_input()
        finally:
            self.close_output()

    @property
    def latency_ms(self) -> float:
        """What the open streams report, both directions."""
        return 1000.0 * sum(stream.latency_s for stream in (self.input, self.output) if stream is not None)

    def _receive(self, data: bytes, frames: int, flags: int) -> None:
        self._inlet.receive(data, frames, flags)

    def _give(self, frames: int, flags: int) -> bytes:
        return self._outlet.give(frames, flags)
