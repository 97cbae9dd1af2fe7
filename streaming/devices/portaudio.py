"""PortAudio through PyAudio: open streams by name, and turn its faults into words.

What PyAudio does not guard against is guarded here: an input index that does not exist is a segmentation fault; a short
block ends the stream; an exception in a callback surfaces anywhere; libraries below write to stderr while they look
for devices. What devices there are, and which are ours, is the business of `pulse` and `native`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Iterator
from typing import Any

import pyaudio

from pse_stream.errors import DeviceError
from pse_stream.streaming.devices.base import Direction, InputCallback, OutputCallback, StreamFormat

log = logging.getLogger(__name__)

DELAY_SHARE = 0.01  # per callback, of a new reading: averages over a second
SETTLED_CALLS = 250

#: PortAudio's error codes that a person can do something about: (name, what it means, what to do).
_FAULTS: dict[int, tuple[str, str, str]] = {
    -9998: ("bad_channels", "it does not take {channels} channel(s)", "Choose another device: pse-stream devices"),
    -9997: ("bad_rate", "it does not take {rate} Hz", "Choose another device: pse-stream devices"),
    -9996: ("no_device", "it is not there", "See what is: pse-stream devices"),
    -9985: ("device_busy", "another program uses it alone", "Close that program, or choose: pse-stream devices"),
}


class Queue:
    """How long the library says that a sample waits; its word is good for changes, less so for the whole."""

    def __init__(self) -> None:
        self.growth_s = 0.0
        self._calls = 0
        self._delay_s = 0.0  # smoothed
        self._first_s = 0.0  # what it was when the stream had settled

    def look(self, delay_s: float) -> None:
        """One more callback: the delay between it and the air."""
        self._calls += 1
        self._delay_s += max(DELAY_SHARE, 1.0 / self._calls) * (delay_s - self._delay_s)
        if self._calls <= SETTLED_CALLS:
            self._first_s = self._delay_s
        self.growth_s = self._delay_s - self._first_s


class PaStream:
    """One direction, open (see `base.Stream`)."""

    def __init__(self, name: str, form: StreamFormat, stream: Any, latency_s: float, queue: Queue) -> None:
        self.name, self.format, self.latency_s = name, form, latency_s
        self._stream: Any = stream
        self._queue = queue

    @property
    def growth_s(self) -> float:
        """After an underrun PulseAudio's plug-in may keep a block more in its queue, for good."""
        return self._queue.growth_s

    @property
    def active(self) -> bool:
        """False when PortAudio has given up on the stream."""
        try:
            return self._stream is not None and bool(self._stream.is_active())
        except OSError:
            return False

    def start(self) -> None:
        """Let the callbacks come.

        Raises
        ------
        DeviceError
            If the device refuses now.
        """
        try:
            self._stream.start_stream()
        except OSError as error:
            raise _fault(error, self.name, self.format) from error

    def stop(self) -> None:
        """Wait for the callback under way; none comes after."""
        with contextlib.suppress(OSError):  # a dead server: it has stopped
            if self._stream is not None:
                self._stream.stop_stream()

    def close(self) -> None:
        """Give the device back."""
        stream, self._stream = self._stream, None
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.stop_stream()
            with contextlib.suppress(OSError):
                stream.close()


class PortAudio:
    """The library, initialised. Its list of devices is as old as this object."""

    def __init__(self) -> None:
        self._pa: Any = None
        self.start()

    def start(self) -> None:
        """Look for devices; every stream must be closed."""
        self.stop()
        with _quiet_stderr():
            self._pa = pyaudio.PyAudio()

    def stop(self) -> None:
        """Give the library back."""
        if self._pa is not None:
            with _quiet_stderr():
                self._pa.terminate()
            self._pa = None

    def devices(self) -> list[dict[str, Any]]:
        """PortAudio's own list: name, index, maxInputChannels, maxOutputChannels, defaultSampleRate."""
        return [dict(self._pa.get_device_info_by_index(i)) for i in range(self._pa.get_device_count())]

    def open(
        self,
        direction: Direction,
        device: str,
        form: StreamFormat,
        callback: InputCallback | OutputCallback,
        *,
        title: str = "",
    ) -> PaStream:
        """Open a stream, not started.

        Parameters
        ----------
        direction : "input" or "output"
        device : str
            PortAudio's name, exactly.
        form : StreamFormat
        callback : InputCallback or OutputCallback
        title : str
            The device's name in messages and as `Stream.name`; `device` if empty.

        Raises
        ------
        DeviceError
            "no_device", "bad_rate", "bad_channels", "device_busy" or "device".
        """
        name = title or device
        index = self._index(direction, device, name)
        way: dict[str, Any] = {direction: True, f"{direction}_device_index": index}
        queue = Queue()
        adapter = _recorder(callback) if direction == "input" else _player(callback, queue)
        try:
            stream = self._pa.open(
                rate=form.sample_rate,
                channels=form.channels,
                format=pyaudio.paFloat32,
                frames_per_buffer=form.block,
                stream_callback=adapter,
                start=False,
                **way,
            )
        except OSError as error:
            raise _fault(error, name, form) from error
        # Filling the block is counted with the algorithm; what PortAudio adds on the input side is room, not delay.
        latency_s = float(stream.get_output_latency()) if direction == "output" else 0.0
        return PaStream(name, form, stream, latency_s, queue)

    def _index(self, direction: Direction, device: str, name: str) -> int:
        """Where the device stands now. PyAudio checks no input index: a wrong one ends the process."""
        channels = f"max{direction.title()}Channels"
        found = [d["index"] for d in self.devices() if d["name"] == device and d[channels] > 0]
        if not found or not 0 <= found[0] < self._pa.get_device_count():
            raise DeviceError(
                f'the {direction} device "{name}" is not there.', name="no_device", hint="See: pse-stream devices"
            )
        return int(found[0])


def _recorder(callback: Any) -> Any:
    def record(data: bytes, frames: int, _times: object, flags: int) -> tuple[None, int]:
        callback(data, frames, flags)
        return None, pyaudio.paContinue

    return record


def _player(callback: Any, queue: Queue) -> Any:
    def play(_data: None, frames: int, times: dict[str, float], flags: int) -> tuple[bytes, int]:
        # Both times are on the wall clock and jump with it; their difference does not.
        queue.look(times["output_buffer_dac_time"] - times["current_time"])
        return callback(frames, flags), pyaudio.paContinue

    return play


def _fault(error: OSError, name: str, form: StreamFormat) -> DeviceError:
    code = error.errno if error.errno is not None else (error.args[0] if error.args else 0)
    kind, what, hint = _FAULTS.get(
        int(code) if isinstance(code, int) else 0,
        ("device", f"the audio library says: {error.strerror or error}", "Look at: pse-stream doctor"),
    )
    what = what.format(channels=form.channels, rate=form.sample_rate)
    return DeviceError(f'the device "{name}" cannot be opened: {what}.', name=kind, hint=hint)


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Keep what the libraries below write about absent JACK servers off the terminal; it goes to the debug log."""
    with tempfile.TemporaryFile() as kept:
        saved = os.dup(2)
        try:
            os.dup2(kept.fileno(), 2)
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
        kept.seek(0)
        for line in kept.read().decode(errors="replace").splitlines():
            log.debug("audio library: %s", line)
