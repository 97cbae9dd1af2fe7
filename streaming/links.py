"""The two streams of a denoiser: open, close and open again, one at a time.

Only the owner thread calls this (see `owner.py`), because an audio library's open and close must never meet.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from pse_stream.streaming.devices.base import Device, Stream
from pse_stream.streaming.runner import Runner
from pse_stream.streaming.settings import Settings

log = logging.getLogger(__name__)

PHASE_THROWS = 4  # each is good enough by a chance of one half: 94 % in all
GOOD_PHASE_HOPS = 0.5
WATCHED_HOPS = 16
FADE_OUT_S = 0.02  # a block is on its way while the next one fades
SETTLE_S = 1.0  # a stream that does not flow after this has other troubles than its phase


class Links:
    """From a device's streams to a runner's rings.

    Parameters
    ----------
    device : Device
    runner : Runner
    on_thread : callable or None
        Called once in each thread that a callback comes in.
    """

    def __init__(self, device: Device, runner: Runner, *, on_thread: Callable[[], None] | None = None) -> None:
        self.device, self.runner = device, runner
        self._on_thread = on_thread
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

    def renew_output(self, settings: Settings) -> None:
        """Open the output again because its own queue has grown: a fade, a tenth of a second of silence, a fade.

        Raises
        ------
        DeviceError
            If it cannot be opened again.
        """
        self.runner.outlet.shut = True
        time.sleep(FADE_OUT_S)
        self.open_output(settings)
        self.runner.outlet.shut = False

    def choose_phase(self, settings: Settings) -> None:
        """Open the microphone again while its blocks come at an unlucky moment.

        When a block is recorded relative to when one is asked for is decided when the streams start, and stays so for
        hours; it is worth up to a hop of delay. At the start a tenth of a second for another throw costs nobody
        anything. The worker must be running.

        Raises
        ------
        DeviceError
            If it cannot be opened again.
        """
        self.runner.outlet.shut = True  # nobody should hear the throws
        for throw in range(PHASE_THROWS):
            if throw:
                self.open_input(settings)
            if not self._watched() or self.runner.pace.luck_hops <= GOOD_PHASE_HOPS:
                break
        self.runner.outlet.shut = False

    def _watched(self) -> bool:
        """Wait until sound has flowed long enough for its phase to be known; False if it does not flow."""
        end = time.monotonic() + SETTLE_S
        while self.runner.pace.seen_hops < WATCHED_HOPS:
            if time.monotonic() > end:
                return False
            time.sleep(0.01)
        return True

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
        """What the open streams report, both directions, grown queues included."""
        streams = [stream for stream in (self.input, self.output) if stream is not None]
        return 1000.0 * sum(stream.latency_s + max(0.0, stream.growth_s) for stream in streams)

    def _receive(self, data: bytes, frames: int, flags: int) -> None:
        if self._inlet.blocks == 0 and self._on_thread is not None:
            self._on_thread()
        self._inlet.receive(data, frames, flags)

    def _give(self, frames: int, flags: int) -> bytes:
        if self._outlet.blocks == 0 and self._on_thread is not None:
            self._on_thread()
        return self._outlet.give(frames, flags)
