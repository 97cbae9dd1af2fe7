"""A sound file as the microphone and, if wanted, another as the virtual microphone.

The live path runs as it is, against the wall clock or as fast as it can; `make run` uses this where there is no
microphone. Constant memory: blocks are read and written as time goes on. One thread plays sound card: it hands over a
block, asks for a block, and waits for the next 8 ms. Off-line enhancement is not here (`streaming.offline`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from pse_stream.dsp.resample import Resampler
from pse_stream.dsp.spec import GRID_RATES, Float32s
from pse_stream.errors import PseError
from pse_stream.streaming.devices.base import (
    DeviceInfo,
    Direction,
    Facts,
    InputCallback,
    OutputCallback,
    StreamFormat,
)
from pse_stream.streaming.soundfiles import SoundReader, SoundWriter

SLACK_S = 0.040  # nobody talks with a file: rather late than with a hole
READ_SAMPLES = 9_600  # per channel and look at the file
TAIL_S = 0.1  # silence after the end, so that the last word leaves the pipeline too
TICK_S = 0.1  # the watchdog's period in simulated time
FALLBACK_RATE = 48_000  # for files whose rate has no place on the 8 ms grid


class FileStream:
    """One direction of a `FileDevice`."""

    def __init__(self, name: str, form: StreamFormat, on_start: Callable[[], None]) -> None:
        self.name, self.format = name, form
        self.latency_s = self.growth_s = 0.0
        self.running = False
        self._on_start = on_start

    @property
    def active(self) -> bool:
        """False once stopped."""
        return self.running

    def start(self) -> None:
        """The card turns when all its opened streams are started."""
        self.running = True
        self._on_start()

    def stop(self) -> None:
        """No more callbacks."""
        self.running = False

    def close(self) -> None:
        """Give the file back."""
        self.running = False


class FileDevice:
    """Play `source` into the denoiser; write what comes out to `target`.

    Parameters
    ----------
    source : Path
        Any format and rate of libsndfile; more than two channels are mixed down.
    target : Path or None
        WAV; appears under its name when the device is closed.
    realtime : bool
        Keep the pace of a sound card; else the worker sets the pace.
    loop : bool
        Begin again at the end, for ever.
    subtype : str
        libsndfile's sample type of `target`, e.g. "FLOAT" or "PCM_16".

    Raises
    ------
    AudioFileError
        If a file cannot be opened.
    """

    settle_hops = 0
    virtual_mic = ""

    def __init__(
        self,
        source: Path,
        target: Path | None = None,
        *,
        realtime: bool = True,
        loop: bool = False,
        subtype: str = "PCM_16",
    ) -> None:
        with SoundReader(source) as reader:
            rate, self._channels = reader.sample_rate, min(reader.channels, 2)
            self.duration_s = reader.frames / rate
        self.name = f"file {source.name}"
        self.sample_rate = rate if rate in GRID_RATES else FALLBACK_RATE
        self.source, self.target, self.realtime, self.loop = source, target, realtime, loop
        self.slack_s = SLACK_S if realtime else 0.0
        self.error: PseError | None = None  # what ended the playing, if not the end of the file
        self.played_s = 0.0
        self._writer: SoundWriter | None = None
        if target is not None:
            self._writer = SoundWriter(
                target, sample_rate=self.sample_rate, channels=1, file_format="WAV", subtype=subtype
            )
        self._streams: dict[Direction, FileStream] = {}
        self._record: InputCallback | None = None
        self._play: OutputCallback | None = None
        self._step: Callable[[], bool] | None = None
        self._tick: Callable[[], None] | None = None
        self._thread: threading.Thread | None = None
        self._leave = threading.Event()
        self._finished = threading.Event()
        self._simulated_s = 0.0
        self._blocks: Iterator[Float32s] | None = None

    def now(self) -> float:
        """The wall's monotonic clock, or the time played where the worker sets the pace."""
        return time.monotonic() if self.realtime else self._simulated_s

    def names(self, direction: Direction) -> list[DeviceInfo]:
        """The file itself."""
        path = self.source if direction == "input" else self.target
        if path is None:
            return []
        channels = self._channels if direction == "input" else 1
        return [DeviceInfo(name=str(path), title=path.name, direction=direction, channels=channels,
                           sample_rate=self.sample_rate, is_default=True)]  # fmt: skip

    def resolve(self, direction: Direction, name: str) -> str:
        """Every name means the one file."""
        return str(self.source if direction == "input" else self.target or "nowhere")

    def open_input(self, name: str, block: int, callback: InputCallback) -> FileStream:
        """Open the source."""
        self._record = callback
        self._blocks = self._blocks or self._read(block)
        form = StreamFormat(sample_rate=self.sample_rate, block=block, channels=self._channels)
        return self._keep("input", FileStream(self.resolve("input", name), form, self._turn))

    def open_output(self, name: str, block: int, callback: OutputCallback) -> FileStream:
        """Open the target; without one the sound goes nowhere."""
        self._play = callback
        form = StreamFormat(sample_rate=self.sample_rate, block=block)
        return self._keep("output", FileStream(self.resolve("output", name), form, self._turn))

    def refresh(self) -> None:
        """Files do not come and go."""

    def facts(self) -> Facts:
        """Nothing is known besides the samples."""
        return Facts()

    def drive(self, step: Callable[[], bool], tick: Callable[[], None]) -> bool:
        """Time is real, or follows the worker."""
        if not self.realtime:
            self._step, self._tick = step, tick
        return not self.realtime

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end of the file."""
        return self._finished.wait(timeout)

    def close(self) -> None:
        """Stop and put the target under its name.

        Raises
        ------
        AudioFileError
            If the target cannot be completed.
        """
        self._leave.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        if self._writer is not None:
            with self._writer as writer:
                if self.played_s > 0.0:  # a start that failed leaves no empty file
                    writer.commit()
            self._writer = None

    # --- the card -----------------------------------------------------------------------------------------------

    def _keep(self, direction: Direction, stream: FileStream) -> FileStream:
        self._streams[direction] = stream
        return stream

    def _turn(self) -> None:
        """Start the card's thread once both streams are started."""
        if self._thread is None and len(self._streams) == 2 and all(s.running for s in self._streams.values()):
            self._thread = threading.Thread(target=self._card, name="file-card", daemon=True)
            self._thread.start()

    def _card(self) -> None:
        try:
            self._play_all()
        except PseError as error:
            self.error = error
        finally:
            self._finished.set()

    def _play_all(self) -> None:
        block = self._streams["input"].format.block
        period, due = block / self.sample_rate, self.now()
        assert self._blocks is not None
        for samples in self._blocks:
            due += period
            if self.realtime and self._leave.wait(max(0.0, due - time.monotonic())):
                return
            self._simulated_s += period
            self._one_block(samples, block)
            self.played_s += period
            if self._leave.is_set():
                return

    def _one_block(self, samples: Float32s, block: int) -> None:
        """What a card does every 8 ms; the worker's share in between where it follows our time."""
        if self._streams["input"].running and self._record is not None:
            self._record(samples.tobytes(), block, 0)
        if self._step is not None and self._tick is not None:
            while self._step():
                pass
            if round(self._simulated_s / TICK_S) != round((self._simulated_s - block / self.sample_rate) / TICK_S):
                self._tick()
        if self._streams["output"].running and self._play is not None:
            data = self._play(block, 0)
            if self._writer is not None:
                self._writer.write(np.frombuffer(data, np.float32)[:, None])

    def _read(self, block: int) -> Iterator[Float32s]:
        """The source at our rate in blocks of (block,) or (block, 2), then a little silence; for ever when looping."""
        rest = np.zeros((0, self._channels), np.float32)
        while True:
            for part in self._converted():
                rest = np.concatenate([rest, part])
                whole = len(rest) // block * block
                yield from (self._shaped(rest[at : at + block]) for at in range(0, whole, block))
                rest = rest[whole:]
            if not self.loop:
                break
        tail = -(-(len(rest) + int(TAIL_S * self.sample_rate)) // block) * block
        rest = np.concatenate([rest, np.zeros((tail - len(rest), self._channels), np.float32)])
        yield from (self._shaped(rest[at : at + block]) for at in range(0, len(rest), block))

    def _converted(self) -> Iterator[Float32s]:
        with SoundReader(self.source) as reader:
            sides = [Resampler(reader.sample_rate, self.sample_rate) for _ in range(self._channels)]
            for block in reader.blocks(READ_SAMPLES):
                kept = block if reader.channels == self._channels else block.mean(axis=1, keepdims=True)
                kept = np.broadcast_to(kept, (len(kept), self._channels))
                yield np.stack([side.process(np.ascontiguousarray(kept[:, n])) for n, side in enumerate(sides)], axis=1)
            yield np.stack([side.flush() for side in sides], axis=1)

    def _shaped(self, block: Float32s) -> Float32s:
        return np.ascontiguousarray(block[:, 0] if self._channels == 1 else block)
