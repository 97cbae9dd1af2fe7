"""What a device is: it names its ends, opens streams, and says what it knows about its own health.

A stream calls back once per block, from a thread of its own, at its own pace. The callbacks of the runner copy and
count, nothing else. Everything that takes time (opening, listing) is called from one owner thread. Samples are
float32, interleaved, +-1.0 full scale.

    PortAudioDevice   microphones and the virtual microphone (portaudio.py)
    FileDevice        a sound file as the microphone, another as the loudspeaker (file.py)
    FakeDevice        scripted clocks and faults, simulated time (fake.py)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from pse_stream.errors import DeviceError

__all__ = [
    "Device",
    "DeviceError",
    "DeviceInfo",
    "Direction",
    "Facts",
    "InputCallback",
    "OutputCallback",
    "Stream",
    "StreamFormat",
]

Direction = Literal["input", "output"]

#: (samples of one block as bytes, samples per channel, status flags). Must not raise.
InputCallback = Callable[[bytes, int, int], None]
#: (samples per channel wanted, status flags) -> exactly that many samples as bytes. Must not raise.
OutputCallback = Callable[[int, int], bytes]

#: PortAudio's status flags, used by every device.
INPUT_UNDERFLOW, INPUT_OVERFLOW, OUTPUT_UNDERFLOW, OUTPUT_OVERFLOW = 1, 2, 4, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamFormat:
    """What a stream is asked for."""

    sample_rate: int  # Hz
    block: int  # samples per channel and callback
    channels: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceInfo:
    """One end that can be opened."""

    name: str  # stable; what to store and to pass to open
    title: str  # for people
    direction: Direction
    channels: int = 1
    sample_rate: int = 0  # the device's own, Hz; 0: unknown
    is_monitor: bool = False  # records what a loudspeaker plays
    is_ours: bool = False  # our own virtual microphone or its feed
    is_default: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the device knows about its health besides the samples; cached, so that asking costs nothing.

    None means unknown, which is never a fault.
    """

    server_up: bool | None = None
    input_present: bool | None = None
    input_attached: str | None = None  # where the stream really records from
    input_is_ours: bool = False  # ... and that is our own output
    output_attached: str | None = None  # where the stream really plays to
    input_muted: bool | None = None
    input_volume_percent: float | None = None
    input_suspended: bool | None = None
    readers: int | None = None  # programs that listen to the virtual microphone
    slept_s: float = 0.0  # how long the machine slept since the device was made


class Stream(Protocol):
    """One direction of one device, open."""

    name: str  # the device's stable name
    format: StreamFormat  # as obtained
    latency_s: float  # obtained: between the callback and the air, without the block itself

    def start(self) -> None:
        """Let the callbacks come."""
        ...

    def stop(self) -> None:
        """No callback runs or comes after this."""
        ...

    def close(self) -> None:
        """Give the device back; stops first. Closing twice is allowed."""
        ...

    @property
    def growth_s(self) -> float:
        """How much longer the latency has become since the stream was opened, as far as the library knows."""
        ...

    @property
    def active(self) -> bool:
        """False when the stream has ended by itself."""
        ...


class Device(Protocol):
    """Everything that records and plays, behind one door."""

    name: str
    sample_rate: int  # Hz, of both streams
    settle_hops: int  # callbacks to watch before their phase is trusted; 0 where time is exact
    slack_s: float  # how late a hop may come before there is a hole
    virtual_mic: str  # what to choose in other programs; "" without one

    def now(self) -> float:
        """Seconds, monotonic; all times of callbacks and of the runner are on this clock."""
        ...

    def names(self, direction: Direction) -> list[DeviceInfo]:
        """What can be opened now."""
        ...

    def resolve(self, direction: Direction, name: str) -> str:
        """The stable name of what `name` or "auto" means now.

        Raises
        ------
        DeviceError
            Missing, ambiguous, or our own output.
        """
        ...

    def open_input(self, name: str, block: int, callback: InputCallback) -> Stream:
        """Open a microphone; `name` is stable or "auto". The stream is silent until started.

        Raises
        ------
        DeviceError
            Missing, busy, refused, or our own output.
        """
        ...

    def open_output(self, name: str, block: int, callback: OutputCallback) -> Stream:
        """Open what the clean voice is played to; "auto" is the virtual microphone where there is one."""
        ...

    def refresh(self) -> None:
        """Look for devices again; every stream must be closed."""
        ...

    def facts(self) -> Facts:
        """What is known now; never waits."""
        ...

    def drive(self, step: Callable[[], bool], tick: Callable[[], None]) -> bool:
        """Offer the worker's step and the watchdog's tick to a device that rules over time.

        True: the device calls both, in step with its callbacks, and no thread is started. False: time is real; the
        device may still call `tick`, from any thread, when it has learnt something.
        """
        ...

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until there is nothing more to record (a file has ended); True when it is so."""
        ...

    def close(self) -> None:
        """Give everything back: streams, modules, files."""
        ...
