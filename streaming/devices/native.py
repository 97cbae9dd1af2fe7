"""Devices by PortAudio's own names: macOS, Windows, and Linux without a sound server.

There is no virtual microphone to make here; a loopback driver that a person installed (BlackHole, VB-CABLE) is found
and used. Untested on real macOS and Windows machines: none was at hand.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from pse_stream.errors import DeviceError
from pse_stream.streaming.devices.base import (
    DeviceInfo,
    Direction,
    Facts,
    InputCallback,
    OutputCallback,
    StreamFormat,
)
from pse_stream.streaming.devices.names import match
from pse_stream.streaming.devices.portaudio import PaStream, PortAudio
from pse_stream.streaming.virtual_mic import LOOPBACKS, find_loopback

SAMPLE_RATE = 48_000


class NativeDevice:
    """What PortAudio finds.

    Parameters
    ----------
    virtual_mic : bool
        Play to a loopback driver when the output is "auto".

    Raises
    ------
    DeviceError
        "no_loopback": none is installed, and one is wanted.
    """

    name = "PortAudio"
    sample_rate = SAMPLE_RATE
    settle_hops = 4
    slack_s = 0.003

    def __init__(self, *, virtual_mic: bool = True) -> None:
        self._audio = PortAudio()
        self.virtual_mic, self._feed = "", ""
        if virtual_mic:
            found = find_loopback([d.name for d in self.names("output")])
            if found is None:
                self._audio.stop()
                wanted = " or ".join(feed for feed, _ in LOOPBACKS.values())
                raise DeviceError(
                    f"no virtual audio cable was found; expected a device called {wanted}.",
                    name="no_loopback",
                    hint="Install BlackHole (macOS) or VB-CABLE (Windows), or choose an output: --output NAME",
                )
            self._feed, self.virtual_mic = found

    def now(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()

    def names(self, direction: Direction) -> list[DeviceInfo]:
        """PortAudio's list, one direction of it."""
        key = f"max{direction.title()}Channels"
        rows = [row for row in self._audio.devices() if row[key] > 0]
        return [
            DeviceInfo(
                name=row["name"],
                title=row["name"],
                direction=direction,
                channels=row[key],
                sample_rate=int(row["defaultSampleRate"]),
                is_default=at == 0,
            )
            for at, row in enumerate(rows)
        ]

    def resolve(self, direction: Direction, name: str) -> str:
        """PortAudio's name of what is meant.

        Raises
        ------
        DeviceError
            "no_mic", "no_output", "ambiguous", "own_source".
        """
        return self._chosen(direction, name).name

    def open_input(self, name: str, block: int, callback: InputCallback) -> PaStream:
        """Open a microphone; errors as `resolve`, or as PortAudio says."""
        return self._open("input", name, block, callback)

    def open_output(self, name: str, block: int, callback: OutputCallback) -> PaStream:
        """Open an output; "auto" is the loopback driver; errors as `resolve`, or as PortAudio says."""
        return self._open("output", name, block, callback)

    def refresh(self) -> None:
        """Let PortAudio look again."""
        self._audio.start()

    def facts(self) -> Facts:
        """PortAudio knows nothing."""
        return Facts()

    def drive(self, step: Callable[[], bool], tick: Callable[[], None]) -> bool:
        """Time is real."""
        return False

    def wait(self, timeout: float | None = None) -> bool:
        """A microphone never ends."""
        return False

    def close(self) -> None:
        """Give the library back."""
        self._audio.stop()

    def _open(self, direction: Direction, name: str, block: int, callback: InputCallback | OutputCallback) -> PaStream:
        chosen = self._chosen(direction, name)
        form = StreamFormat(sample_rate=SAMPLE_RATE, block=block, channels=min(chosen.channels, 2))
        return self._audio.open(direction, chosen.name, form, callback)

    def _chosen(self, direction: Direction, name: str) -> DeviceInfo:
        if direction == "output" and name == "auto" and self._feed:
            name = self._feed
        chosen = match(self.names(direction), name, direction)
        if direction == "input" and self._feed and chosen.name == self._feed:
            raise DeviceError(
                f'"{chosen.name}" carries our own output and cannot be the input.',
                name="own_source",
                hint="Choose another: pse-stream devices",
            )
        return chosen
