"""A device made of simulated time: two clocks and every fault, scripted, for tests and simulations.

`advance(seconds)` calls the callbacks in the order in which two real crystals would; hours pass in seconds and the
same script always gives the same result. The worker's step runs in between, as if it took no time, unless what it
runs calls `spend`: then the callbacks go on around it, as they do around a slow engine.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from pse_stream.dsp.spec import Float32s
from pse_stream.streaming.devices.base import (
    DeviceInfo,
    Direction,
    Facts,
    InputCallback,
    OutputCallback,
    StreamFormat,
)
from pse_stream.streaming.devices.names import match

TICK_S = 0.1  # the watchdog's period

#: (first sample, count) -> (count,) or (count, channels) float32
Source = Callable[[int, int], Float32s]


class FakeStream:
    """One direction of a `FakeDevice`: a crystal that is `ppm` too fast, with jitter and stalls."""

    def __init__(self, device: FakeDevice, direction: Direction, name: str, form: StreamFormat) -> None:
        self.name, self.format, self.direction = name, form, direction
        self.latency_s, self.growth_s = form.block / form.sample_rate, 0.0
        self.callback: Any = None
        self.running = self.closed = self.ended = False
        self.delivered = 0  # callbacks so far
        self.due = 0.0  # of the next callback
        self._device = device
        self._ideal = self._began = 0.0

    @property
    def active(self) -> bool:
        """False once stopped, closed, or ended by the script."""
        return self.running and not self.ended

    def start(self) -> None:
        """First callback one block from now."""
        self.running = True
        self._ideal = self._began = self._device.now()
        self.schedule()

    def stop(self) -> None:
        """No more callbacks."""
        self.running = False

    def close(self) -> None:
        """Give the device back."""
        self.running, self.closed = False, True
        self._device.forget(self)

    def schedule(self) -> None:
        """Compute the time of the next callback."""
        clock = self.format.sample_rate * (1.0 + self._device.ppm[self.direction] * 1e-6)
        self._ideal += self.format.block / clock
        self.due = max(self.due, self._come(self._ideal) + self._device.jitter(), self._device.now())

    def _come(self, ideal: float) -> float:
        """When a sound server hands on what was complete at `ideal`: with the next of its own blocks."""
        chunk_s = self._device.chunk_s[self.direction]
        return math.ceil((ideal - self._began) / chunk_s - 1e-9) * chunk_s + self._began if chunk_s else ideal

    def lose(self, until: float) -> None:
        """Deliver nothing until then, and nothing of what was missed."""
        self._ideal = max(self._ideal, until)
        self.due = max(self.due, until)


class FakeDevice:
    """Microphone, virtual microphone and time, all made up.

    Parameters
    ----------
    sample_rate : int
        Hz, of both streams by their own clocks.
    input_ppm, output_ppm : float
        How much too fast each clock runs.
    jitter_ms : float
        Callbacks come late by up to this much, uniformly.
    input_chunk_ms : float
        The sound server hands on what was recorded in blocks of this length, not in ours; 0: at once.
    source : array, function or None
        What the microphone hears; silence after the end of an array.
    keep_output : bool
        Collect what is played (`output`); off for simulated hours.
    """

    virtual_mic = "Fake Microphone"
    settle_hops = 8
    slack_s = 0.003

    def __init__(
        self,
        *,
        sample_rate: int = 48_000,
        input_ppm: float = 0.0,
        output_ppm: float = 0.0,
        jitter_ms: float = 0.0,
        input_chunk_ms: float = 0.0,
        source: Float32s | Source | None = None,
        channels: int = 1,
        seed: int = 0,
        keep_output: bool = True,
        names: tuple[str, ...] = ("mic", "spare"),
    ) -> None:
        self.name, self.sample_rate, self.channels = "fake", sample_rate, channels
        self.ppm: dict[Direction, float] = {"input": input_ppm, "output": output_ppm}
        self.chunk_s: dict[Direction, float] = {"input": input_chunk_ms / 1000.0, "output": 0.0}
        self.present = list(names)
        self.played: list[bytes] = []
        self.opened = {"input": 0, "output": 0}  # how often
        self.refreshed = 0
        self._jitter_s = jitter_ms / 1000.0
        self._random = np.random.default_rng(seed)
        self._source = _as_source(source, channels)
        self._keep = keep_output
        self._now = 1000.0
        self._heard = 0  # samples the microphone has given
        self._streams: list[FakeStream] = []
        self._facts = Facts(server_up=True, input_present=True, readers=1)
        self._flags: dict[Direction, int] = {"input": 0, "output": 0}
        self._refusals: list[tuple[Direction, Exception]] = []
        self._stalled: dict[Direction, float] = {"input": 0.0, "output": 0.0}
        self._step: Callable[[], bool] | None = None
        self._tick: Callable[[], None] | None = None
        self._next_tick = self._now + TICK_S
        self._finished = False

    # --- the contract -------------------------------------------------------------------------------------------

    def now(self) -> float:
        """Simulated seconds."""
        return self._now

    def names(self, direction: Direction) -> list[DeviceInfo]:
        """The scripted names; one output."""
        names = self.present if direction == "input" else ["virtual"]
        return [DeviceInfo(name=n, title=n.title(), direction=direction, is_default=i == 0)
                for i, n in enumerate(names)]  # fmt: skip

    def resolve(self, direction: Direction, name: str) -> str:
        """The first one is "auto"."""
        return match(self.names(direction), name, direction).name

    def open_input(self, name: str, block: int, callback: InputCallback) -> FakeStream:
        """Open; refused as scripted or when the name is gone."""
        return self._open("input", self.resolve("input", name), block, self.channels, callback)

    def open_output(self, name: str, block: int, callback: OutputCallback) -> FakeStream:
        """Open; refused as scripted."""
        return self._open("output", self.resolve("output", name), block, 1, callback)

    def refresh(self) -> None:
        """Counted; must find every stream closed, as PortAudio must."""
        if self._streams:
            raise AssertionError("refresh with open streams")
        self.refreshed += 1

    def facts(self) -> Facts:
        """As scripted."""
        return self._facts

    def drive(self, step: Callable[[], bool], tick: Callable[[], None]) -> bool:
        """Simulated time drives both."""
        self._step, self._tick = step, tick
        return True

    def wait(self, timeout: float | None = None) -> bool:
        """Ends when the script says so."""
        return self._finished

    def close(self) -> None:
        """Close all streams."""
        for stream in list(self._streams):
            stream.close()
        self._step = self._tick = None

    # --- time ---------------------------------------------------------------------------------------------------

    def advance(self, seconds: float) -> None:
        """Let this much time pass: callbacks, worker and watchdog run in their order."""
        self._run(self._now + seconds, working=True)

    def spend(self, seconds: float) -> None:
        """Called from inside the worker: it is busy this long while the callbacks go on."""
        self._run(self._now + seconds, working=False)

    def _run(self, end: float, *, working: bool) -> None:
        while True:
            running = [s for s in self._streams if s.active]
            due = min((s.due for s in running), default=np.inf)
            if working and self._next_tick <= max(self._now, min(due, end)):
                self._now = max(self._now, self._next_tick)
                self._next_tick += TICK_S
                if self._tick is not None:
                    self._tick()
            elif due <= end:
                self._now = max(self._now, due)
                self._deliver(min(running, key=lambda s: s.due))
            else:
                break
            while working and self._step is not None and self._now < min(end, self._next_tick) and self._step():
                pass  # a slow engine moves the time on itself
        self._now = max(self._now, end)

    def _deliver(self, stream: FakeStream) -> None:
        block, direction = stream.format.block, stream.direction
        flags, self._flags[direction] = self._flags[direction], 0
        stream.delivered += 1
        if direction == "input":
            samples = self._source(self._heard, block)
            self._heard += block
            stream.callback(np.ascontiguousarray(samples, np.float32).tobytes(), block, flags)
        else:
            data = stream.callback(block, flags)
            if len(data) != 4 * block * stream.format.channels:
                stream.ended = True  # as PyAudio takes a short block
            if self._keep:
                self.played.append(data)
        stream.schedule()
        stream.due = max(stream.due, self._stalled[direction])

    def jitter(self) -> float:
        """How late the next callback comes, seconds."""
        return float(self._random.uniform(0.0, self._jitter_s)) if self._jitter_s else 0.0

    # --- the script ---------------------------------------------------------------------------------------------

    def stall(self, direction: Direction | Literal["both"], seconds: float, *, lose: bool = False) -> None:
        """No callbacks for a while; then all that were due come in one burst, unless they are lost."""
        for stream in self._streams:
            if direction in (stream.direction, "both"):
                if lose:
                    stream.lose(self._now + seconds)
                else:
                    self._stalled[stream.direction] = self._now + seconds
                    stream.due = max(stream.due, self._now + seconds)

    def flag(self, direction: Direction, flags: int) -> None:
        """Put status flags on the next callback."""
        self._flags[direction] = flags

    def refuse(self, direction: Direction, error: Exception, times: int = 1) -> None:
        """Let the next attempts to open fail."""
        self._refusals += [(direction, error)] * times

    def end(self, direction: Direction) -> None:
        """The stream ends by itself (the server was killed): inactive, no more callbacks."""
        for stream in self._streams:
            if stream.direction == direction:
                stream.ended = True

    def lag(self, seconds: float) -> None:
        """The output's own queue stands longer than when it was opened."""
        for stream in self._streams:
            if stream.direction == "output":
                stream.growth_s = seconds

    def say(self, **facts: Any) -> None:
        """Change what the device knows about itself (`Facts`)."""
        self._facts = replace(self._facts, **facts)

    def unplug(self, name: str, *, moved_to: str | None = None) -> None:
        """The microphone goes; the server moves its stream elsewhere without a word, or it goes silent."""
        self.present.remove(name)
        self.say(input_present=False, input_attached=moved_to)
        if moved_to is None:
            self.stall("input", 1e9, lose=True)

    def plug(self, name: str) -> None:
        """The microphone comes back."""
        self.present.insert(0, name)
        self._stalled["input"] = 0.0
        self.say(input_present=True)

    def finish(self) -> None:
        """There is nothing more to record."""
        self._finished = True

    def hear(self, source: Float32s | Source | None) -> None:
        """Change what the microphone hears, from its first sample."""
        self._source, self._heard = _as_source(source, self.channels), 0

    @property
    def output(self) -> Float32s:
        """Everything that was played, (n,) float32."""
        return np.frombuffer(b"".join(self.played), np.float32)

    # --- inside -------------------------------------------------------------------------------------------------

    def _open(self, direction: Direction, name: str, block: int, channels: int, callback: Any) -> FakeStream:
        for at, (refused, error) in enumerate(self._refusals):
            if refused == direction:
                del self._refusals[at]
                raise error
        form = StreamFormat(sample_rate=self.sample_rate, block=block, channels=channels)
        stream = FakeStream(self, direction, name, form)
        stream.callback = callback
        self._streams.append(stream)
        self.opened[direction] += 1
        if direction == "input":
            self.say(input_attached=name, input_present=True)
        else:
            self.say(output_attached=name)
        return stream

    def forget(self, stream: FakeStream) -> None:
        """A stream was closed."""
        if stream in self._streams:
            self._streams.remove(stream)


def _as_source(source: Float32s | Source | None, channels: int) -> Source:
    shape = () if channels == 1 else (channels,)
    if callable(source):
        return source
    signal = np.zeros((0, *shape), np.float32) if source is None else source

    def play(first: int, count: int) -> Float32s:
        block = np.zeros((count, *shape), np.float32)
        part = signal[first : first + count]
        block[: len(part)] = part
        return block

    return play
