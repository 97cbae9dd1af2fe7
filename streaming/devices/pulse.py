"""The devices of a Linux desktop: what PulseAudio or PipeWire offers, and our virtual microphone among them.

Devices are named as the sound server names them, never by index. Sound goes through PortAudio (see `alsa`), facts come
from the server (`sound_server`), in a thread that asks only when something has happened.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pse_stream.errors import DeviceError
from pse_stream.streaming.devices.alsa import PCM, AlsaConfig
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
from pse_stream.streaming.sound_server import Connection, Endpoint, SoundServer, Watcher
from pse_stream.streaming.virtual_mic import DEFAULT_INSTANCE, VirtualMic

log = logging.getLogger(__name__)

#: What is no longer known of a direction whose stream was opened anew.
_UNKNOWN: dict[Direction, dict[str, Any]] = {
    "input": {"input_present": None, "input_attached": None, "input_is_ours": False, "input_suspended": None},
    "output": {"output_attached": None},
}

SAMPLE_RATE = 48_000  # Hz; the server converts where a device has another rate
MOST_CHANNELS = 2  # of a microphone; arrays of more are mixed by the server


class PulseDevice:
    """Microphones, loudspeakers and the virtual microphone of one sound server.

    Parameters
    ----------
    instance : str
        Two denoisers have two virtual microphones.
    virtual_mic : bool
        Make one, and play to it when the output is "auto".
    server : SoundServer or None

    Raises
    ------
    DeviceError
        "server_down", "no_pactl": there is no sound server to talk to.
    BusyError
        The virtual microphone belongs to another living process.
    """

    sample_rate = SAMPLE_RATE
    settle_hops = 4
    slack_s = 0.003  # computing 1 ms, waking up 0.1 (2 with a busy neighbour), jitter of callbacks 0.4

    def __init__(
        self, *, instance: str = DEFAULT_INSTANCE, virtual_mic: bool = True, server: SoundServer | None = None
    ) -> None:
        self._server = server or SoundServer()
        self.name = self._server.info().get("server_name", "sound server")
        self._mic = VirtualMic(self._server, instance, SAMPLE_RATE) if virtual_mic else None
        if self._mic is not None:
            self._mic.create()
        self.virtual_mic = self._mic.title if self._mic is not None else ""
        self._wanted: dict[Direction, str] = {}
        self._streams_opened = 0
        self._mic_index: int | None = None  # of our source
        self._names: tuple[str | None, ...] = ()  # default and all of the server's sources, as last seen
        self._microphones: dict[str, DeviceInfo] = {}  # what a name meant then
        self._facts = Facts(server_up=True)
        self._tick: Callable[[], None] = _nothing
        self._sleep_base = _slept_s()
        try:
            self._alsa = AlsaConfig()
            self._audio = PortAudio()
            self._watcher = Watcher(self._learn)
            self._watcher.start()
        except BaseException:
            self._remove_mic()
            raise

    # --- the contract -------------------------------------------------------------------------------------------

    def now(self) -> float:
        """CLOCK_MONOTONIC; PortAudio's own times are on the wall clock and jump with it."""
        return time.monotonic()

    def names(self, direction: Direction) -> list[DeviceInfo]:
        """Sources or sinks, by the server's names."""
        info = self._server.info()
        default = info.get("default_source_name" if direction == "input" else "default_sink_name", "")
        return [
            DeviceInfo(
                name=end.name,
                title=end.description,
                direction=direction,
                channels=end.channels,
                sample_rate=end.sample_rate,
                is_monitor=bool(end.monitor_of),
                is_ours=end.is_ours,
                is_default=end.name == default,
            )
            for end in self._ends(direction)
        ]

    def resolve(self, direction: Direction, name: str) -> str:
        """The server's name of what is meant; "auto" is its default microphone, and our virtual one as output.

        Raises
        ------
        DeviceError
            "no_mic", "no_output", "ambiguous", "own_source".
        """
        return self._chosen(direction, name).name

    def open_input(self, name: str, block: int, callback: InputCallback) -> PaStream:
        """Open a microphone; errors as `resolve`, or as PortAudio says."""
        chosen = self._microphones.get(name)
        if chosen is None:
            chosen = self._microphones[name] = self._chosen("input", name)
        return self._open("input", chosen.name, block, min(chosen.channels, MOST_CHANNELS), callback)

    def open_output(self, name: str, block: int, callback: OutputCallback) -> PaStream:
        """Open an output; errors as `resolve`, or as PortAudio says."""
        known = name == "auto" and self._mic is not None and self._mic_index is not None
        # One channel: the server copies it to all of the sink's.
        return self._open("output", self._mic.sink if known and self._mic else self.resolve("output", name), block, 1,
                          callback)  # fmt: skip

    def refresh(self) -> None:
        """Begin anew with PortAudio and, if the server has lost it, the virtual microphone.

        Raises
        ------
        DeviceError
            If the server does not answer.
        """
        self._microphones.clear()
        if self._mic is not None and not self._mic.exists():
            self._mic_index = None
            self._mic.remove()
            self._mic.create()
        self._audio.start()

    def facts(self) -> Facts:
        """What the last events said."""
        return replace(self._facts, slept_s=_slept_s() - self._sleep_base)

    def drive(self, step: Callable[[], bool], tick: Callable[[], None]) -> bool:
        """Time is real; news from the server is looked at without delay."""
        self._tick = tick
        return False

    def wait(self, timeout: float | None = None) -> bool:
        """A microphone never ends."""
        return False

    def close(self) -> None:
        """Give everything back: the library, the virtual microphone, the configuration."""
        self._watcher.stop()
        self._audio.stop()
        self._remove_mic()
        self._alsa.remove()

    # --- inside -------------------------------------------------------------------------------------------------

    def _ends(self, direction: Direction) -> list[Endpoint]:
        return self._server.sources() if direction == "input" else self._server.sinks()

    def _chosen(self, direction: Direction, name: str) -> DeviceInfo:
        if direction == "output" and name == "auto" and self._mic is not None:
            if not self._mic.exists():
                self._mic.create()
            name = self._mic.sink
        return match(self.names(direction), name, direction)

    def _open(
        self, direction: Direction, name: str, block: int, channels: int, callback: InputCallback | OutputCallback
    ) -> PaStream:
        form = StreamFormat(sample_rate=SAMPLE_RATE, block=block, channels=channels)
        self._alsa.bind(direction, name)
        self._wanted[direction] = name
        self._streams_opened += 1
        self._facts = replace(self._facts, **_UNKNOWN[direction])  # until the server is asked again
        return self._audio.open(direction, PCM[direction], form, callback, title=name)

    def _remove_mic(self) -> None:
        if self._mic is not None:
            self._mic.remove()

    def _learn(self, up: bool) -> None:
        """On the watcher's thread: ask the server what is true now."""
        opened = self._streams_opened
        try:
            self._mic_index = self._mic_index if up else None
            facts = self._ask() if up else Facts(server_up=False)
        except (DeviceError, ValueError, KeyError) as error:
            log.debug("the sound server could not be asked: %s", error)
            return  # it is asked again at the next event, or found to be away
        if opened == self._streams_opened:  # else the answers are about a stream that is gone; new events are coming
            self._facts = facts
            self._tick()

    def _ask(self) -> Facts:
        """Who listens first: somebody may be waiting for the microphone to open."""
        recordings, pid = self._server.recordings(), os.getpid()
        if self._mic_index is not None:
            self._facts = replace(self._facts, server_up=True, readers=_listeners(recordings, self._mic_index))
            self._tick()
        sources = self._server.sources()
        self._remember(sources)
        by_index = {end.index: end for end in sources}
        wanted = self._wanted.get("input")
        microphone = next((end for end in sources if end.name == wanted), None)
        attached = next((by_index[c.endpoint] for c in recordings if c.pid == pid and c.endpoint in by_index), None)
        return Facts(
            server_up=True,
            input_present=None if wanted is None else microphone is not None,
            input_attached=None if attached is None else attached.name,
            input_is_ours=attached is not None and attached.is_ours,
            output_attached=self._output_attached(pid),
            input_muted=None if microphone is None else microphone.muted,
            input_volume_percent=None if microphone is None else microphone.volume_percent,
            input_suspended=None if microphone is None else microphone.state == "SUSPENDED",
            readers=None if self._mic_index is None else _listeners(recordings, self._mic_index),
        )

    def _remember(self, sources: list[Endpoint]) -> None:
        """Keep what saves a question when the microphone must open at once; forget what may have changed."""
        ours = None if self._mic is None else self._mic.source
        self._mic_index = next((end.index for end in sources if end.name == ours), None)
        names = (self._server.info().get("default_source_name"), *(end.name for end in sources))
        if names != self._names:
            self._names = names
            self._microphones.clear()

    def _output_attached(self, pid: int) -> str | None:
        sinks = {end.index: end.name for end in self._server.sinks()}
        return next((sinks[c.endpoint] for c in self._server.playbacks() if c.pid == pid and c.endpoint in sinks), None)


def _listeners(recordings: list[Connection], source: int) -> int:
    """How many programs record our source and have not paused it."""
    return sum(c.endpoint == source and not c.corked and c.pid != os.getpid() for c in recordings)


def _nothing() -> None:
    """Nobody wants to know yet."""


def _slept_s() -> float:
    """How long the machine has slept since it was started: the boot clock goes on, the monotonic one does not."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)
