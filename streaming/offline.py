"""Files through the live pipeline: any rate, any number of channels, any length, in constant memory.

The same `Pipeline` as live, one per channel, in a loop. At the rates of the grid the result equals what a virtual
microphone gives for the same input, sample for sample; the delay is taken out, so the file keeps its length and stays
in step with a picture. Rates off the grid go up to the next one that is on it (above 48 kHz: down to 48 kHz) and back.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr

from pse_stream.dsp.spec import GRID_RATES, Float32s
from pse_stream.engines.contract import Engine
from pse_stream.errors import AudioFileError
from pse_stream.streaming.pipeline import Pipeline
from pse_stream.streaming.settings import Settings
from pse_stream.streaming.soundfiles import SoundReader, SoundWriter, target_format

DEFAULT_ATTENUATION_DB = Settings().attenuation_db
BLOCK_S = 1.0  # read, denoise and write this much at a time

#: Called with (frames done, frames in all).
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Enhanced:
    """What was done to one file."""

    source: Path
    target: Path
    engine: str
    level: int
    sample_rate: int  # Hz, of both files
    grid_rate: int  # Hz, at which it was denoised
    channels: int
    frames: int
    elapsed_s: float  # wall clock
    cpu_s: float  # of this thread
    latency_ms: float  # algorithmic: what live use would add; taken out of the file
    removed_db: float  # how much quieter the whole file became
    bad_samples: int  # NaN or Inf, taken as silence
    limited_hops: int
    truncated: str  # "" or what was missing, in words

    @property
    def seconds(self) -> float:
        """Length of the sound."""
        return self.frames / self.sample_rate

    @property
    def times_real_time(self) -> float:
        """Seconds of sound per second of work."""
        return self.seconds / max(self.elapsed_s, 1e-9)


def grid_rate(sample_rate: int) -> int:
    """The grid's rate for sound of `sample_rate` Hz: the lowest that loses nothing, at most 48 kHz."""
    return next((rate for rate in GRID_RATES if rate >= sample_rate), GRID_RATES[-1])


class Channel:
    """One channel of a recording: to the grid, through a pipeline, back, aligned with the input."""

    def __init__(self, sample_rate: int, engine: Engine, *, level: int | None, attenuation_db: float) -> None:
        rate = grid_rate(sample_rate)
        self.pipeline = Pipeline(rate, engine.fork(), level=level, attenuation_db=attenuation_db)
        self._up = self._down = None
        if rate != sample_rate:
            self._up = soxr.ResampleStream(sample_rate, rate, 1, dtype="float32", quality="HQ")
            self._down = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32", quality="HQ")
        self._rest = np.zeros(0, np.float32)  # (< hop,) at the grid's rate, waiting for a whole hop
        self._skip = self.pipeline.latency_samples  # outputs still to drop: they came before the first sample
        self._taken = self._given = 0  # samples at the file's rate
        self._grid_in = self._grid_out = 0  # samples at the grid's rate

    def push(self, samples: Float32s) -> Float32s:
        """Take (n,) float32 finite samples, give those that are ready."""
        self._taken += len(samples)
        return self._back(self._run(samples if self._up is None else self._up.resample_chunk(samples)), last=False)

    def finish(self) -> Float32s:
        """The rest; after it as many samples have come out as went in."""
        ready = [] if self._up is None else [self._run(self._up.resample_chunk(np.zeros(0, np.float32), last=True))]
        missing = self._grid_in - self._grid_out
        silence = np.zeros(missing + self._skip + 2 * self.pipeline.hop, np.float32)
        ready.append(self._run(silence, silent=True)[:missing])
        out = self._back(np.concatenate(ready), last=True)
        wanted = self._taken - (self._given - len(out))
        return np.pad(out, (0, max(0, wanted - len(out))))[:wanted]

    def _run(self, samples: Float32s, *, silent: bool = False) -> Float32s:
        hop = self.pipeline.hop
        if not silent:
            self._grid_in += len(samples)
        waiting = np.concatenate([self._rest, samples])
        whole = len(waiting) // hop * hop
        out = np.empty(whole, np.float32)
        for at in range(0, whole, hop):
            self.pipeline.process(waiting[at : at + hop], out=out[at : at + hop])
        self._rest = waiting[whole:]
        skipped = min(self._skip, whole)
        self._skip -= skipped
        if not silent:
            self._grid_out += whole - skipped
        return out[skipped:]

    def _back(self, samples: Float32s, *, last: bool) -> Float32s:
        out = samples if self._down is None else self._down.resample_chunk(samples, last=last)
        self._given += len(out)
        return out


def enhance_samples(
    samples: Float32s,
    sample_rate: int,
    engine: Engine,
    *,
    level: int | None = None,
    attenuation_db: float = DEFAULT_ATTENUATION_DB,
) -> Float32s:
    """Denoise one channel held in memory.

    Parameters
    ----------
    samples : (n,) float32
    sample_rate : int
        Hz.
    engine : Engine
        Forked; its own state is not touched.

    Returns
    -------
    (n,) float32
        In step with `samples`.
    """
    channel = Channel(sample_rate, engine, level=level, attenuation_db=attenuation_db)
    clean, _ = _finite(np.ascontiguousarray(samples, np.float32))
    return np.concatenate([channel.push(clean), channel.finish()])


def enhance_file(
    source: Path,
    target: Path,
    engine: Engine,
    *,
    level: int | None = None,
    attenuation_db: float = DEFAULT_ATTENUATION_DB,
    allow_truncated: bool = False,
    progress: Progress | None = None,
) -> Enhanced:
    """Denoise a file into another; `target` appears only when it is whole.

    Parameters
    ----------
    source, target : Path
        Any format of libsndfile; the ending of `target` decides its own.
    engine : Engine
        Forked for every channel; its own state is not touched.
    level, attenuation_db
        As in `streaming.settings.Settings`.

    Raises
    ------
    AudioFileError
        If one of the files cannot be read or written, or both are the same.
    EngineError
        If the engine has no such level.
    """
    if target.exists() and source.exists() and target.samefile(source):
        raise AudioFileError(
            f'"{target}" is the input itself; the recording would be lost.', name="same_file", hint="Name another: -o"
        )
    began, cpu_began = time.perf_counter(), time.thread_time()
    with SoundReader(source, allow_truncated=allow_truncated) as reader:
        file_format, subtype = target_format(target, reader)
        channels = [
            Channel(reader.sample_rate, engine, level=level, attenuation_db=attenuation_db)
            for _ in range(reader.channels)
        ]
        with SoundWriter(
            target,
            sample_rate=reader.sample_rate,
            channels=reader.channels,
            file_format=file_format,
            subtype=subtype,
        ) as writer:
            totals = _stream(reader, channels, writer, progress)
            writer.commit()
        first = channels[0].pipeline
        return Enhanced(
            source=source,
            target=target,
            engine=first.engine.info.id,
            level=first.level,
            sample_rate=reader.sample_rate,
            grid_rate=first.spec.sample_rate,
            channels=reader.channels,
            frames=totals.frames,
            elapsed_s=time.perf_counter() - began,
            cpu_s=time.thread_time() - cpu_began,
            latency_ms=1000.0 * (first.latency_samples + first.hop) / first.spec.sample_rate,
            removed_db=totals.removed_db,
            bad_samples=totals.bad_samples,
            limited_hops=sum(channel.pipeline.limited_hops for channel in channels),
            truncated=reader.truncated,
        )


@dataclass(slots=True)
class _Totals:
    """Sums over a file."""

    frames: int = 0
    bad_samples: int = 0
    energy_in: float = 0.0
    energy_out: float = 0.0

    @property
    def removed_db(self) -> float:
        if self.energy_in <= 0.0 or self.energy_out <= 0.0:
            return 0.0
        return 10.0 * math.log10(self.energy_in / self.energy_out)


def _stream(reader: SoundReader, channels: list[Channel], writer: SoundWriter, progress: Progress | None) -> _Totals:
    """All of the file, block by block."""
    totals = _Totals()
    for block in reader.blocks(max(1, round(BLOCK_S * reader.sample_rate))):
        clean, bad = _finite(block)
        totals.bad_samples += bad
        totals.frames += len(block)
        totals.energy_in += float(np.vdot(clean, clean))
        columns = [channel.push(np.ascontiguousarray(clean[:, c])) for c, channel in enumerate(channels)]
        _write(writer, columns, totals)
        if progress is not None:
            progress(totals.frames, reader.frames)
    _write(writer, [channel.finish() for channel in channels], totals)
    return totals


def _write(writer: SoundWriter, columns: list[Float32s], totals: _Totals) -> None:
    samples = np.stack(columns, axis=1)
    totals.energy_out += float(np.vdot(samples, samples))
    writer.write(samples)


def _finite(samples: Float32s) -> tuple[Float32s, int]:
    """The samples with NaN and Inf as silence, and how many there were; a resampler would spread them."""
    if np.isfinite(np.vdot(samples, samples)):
        return samples, 0
    good = np.isfinite(samples)
    return np.where(good, samples, np.float32(0.0)), int(samples.size - np.count_nonzero(good))
