"""Files through the live pipeline: any rate, any number of channels, any length, in constant memory.

The same `Pipeline` as live, one per channel, in a loop. At the rates of the grid the result equals what a virtual
microphone gives for the same input, sample for sample; the delay is taken out, so the file keeps its length and stays
in step with a picture. Rates off the grid go up to the next one that is on it (above 48 kHz: down to 48 kHz) and back.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pse_stream.dsp.resample import Resampler, grid_rate
from pse_stream.dsp.spec import Float32s
from pse_stream.engines.contract import Engine
from pse_stream.errors import AudioFileError
from pse_stream.streaming.pipeline import Pipeline
from pse_stream.streaming.settings import Settings
from pse_stream.streaming.soundfiles import SoundReader, SoundWriter, target_format

DEFAULT_ATTENUATION_DB = Settings().attenuation_db
LEVEL_PIECE_S = 0.02  # the noise floor is read off pieces of 20 ms: shorter than most pauses between words
QUIET_SHARE = 0.1  # a tenth of nearly every recording is a pause
SILENCE_DB, TOP_DB, LEVEL_STEP_DB = -120.0, 20.0, 0.25  # dBFS; below is digital silence and not counted
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
    floor_in_db: float | None  # level of the quietest tenth of the file, dBFS: its noise; None: digital silence
    floor_out_db: float | None
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


class Channel:
    """One channel of a recording: to the grid, through a pipeline, back, aligned with the input."""

    def __init__(self, sample_rate: int, engine: Engine, *, level: int | None, attenuation_db: float) -> None:
        rate = grid_rate(sample_rate)
        self.pipeline = Pipeline(rate, engine.fork(), level=level, attenuation_db=attenuation_db)
        self._up, self._down = Resampler(sample_rate, rate), Resampler(rate, sample_rate)
        self._rest = np.zeros(0, np.float32)  # (< hop,) at the grid's rate, waiting for a whole hop
        self._skip = self.pipeline.latency_samples  # outputs still to drop: they came before the first sample
        self._taken = self._given = 0  # samples at the file's rate
        self._grid_in = self._grid_out = 0  # samples at the grid's rate

    def push(self, samples: Float32s) -> Float32s:
        """Take (n,) float32 finite samples, give those that are ready."""
        self._taken += len(samples)
        return self._back(self._run(self._up.process(samples)))

    def finish(self) -> Float32s:
        """The rest; after it as many samples have come out as went in."""
        ready = [self._run(self._up.flush())]
        missing = self._grid_in - self._grid_out
        silence = np.zeros(missing + self._skip + 2 * self.pipeline.hop, np.float32)
        ready.append(self._run(silence, silent=True)[:missing])
        wanted = self._taken - self._given
        out = np.concatenate([self._back(np.concatenate(ready)), self._down.flush()])
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

    def _back(self, samples: Float32s) -> Float32s:
        out = self._down.process(samples)
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
            floor_in_db=totals.before.quietest_db(),
            floor_out_db=totals.after.quietest_db(),
            bad_samples=totals.bad_samples,
            limited_hops=sum(channel.pipeline.limited_hops for channel in channels),
            truncated=reader.truncated,
        )


class LevelCounts:
    """How often each level occurs, so that percentiles of hours need no list of hours."""

    def __init__(self) -> None:
        self._counts = np.zeros(round((TOP_DB - SILENCE_DB) / LEVEL_STEP_DB), np.int64)  # (levels,)

    def add(self, samples: Float32s, piece: int) -> None:
        """Count the RMS of each `piece` samples of (n, channels) float32."""
        whole = len(samples) // piece * piece
        power = np.square(samples[:whole]).reshape(-1, piece * samples.shape[1]).mean(axis=1)
        sounding = power[power > 10.0 ** (SILENCE_DB / 10.0)]
        at: NDArray[np.int64] = ((10.0 * np.log10(sounding) - SILENCE_DB) / LEVEL_STEP_DB).astype(np.int64)
        np.add.at(self._counts, np.minimum(at, len(self._counts) - 1), 1)

    def quietest_db(self) -> float | None:
        """The level in dBFS that a tenth of the counted pieces stay below; None if nothing sounds."""
        total = int(self._counts.sum())
        if total == 0:
            return None
        at = int(np.searchsorted(np.cumsum(self._counts), QUIET_SHARE * total))
        return SILENCE_DB + LEVEL_STEP_DB * (at + 0.5)


@dataclass(slots=True)
class _Totals:
    """Sums over a file."""

    before: LevelCounts = field(default_factory=LevelCounts)
    after: LevelCounts = field(default_factory=LevelCounts)
    frames: int = 0
    bad_samples: int = 0


def _stream(reader: SoundReader, channels: list[Channel], writer: SoundWriter, progress: Progress | None) -> _Totals:
    """All of the file, block by block."""
    totals, piece = _Totals(), max(1, round(LEVEL_PIECE_S * reader.sample_rate))
    for block in reader.blocks(max(1, round(BLOCK_S * reader.sample_rate))):
        clean, bad = _finite(block)
        totals.bad_samples += bad
        totals.frames += len(block)
        totals.before.add(clean, piece)
        columns = [channel.push(np.ascontiguousarray(clean[:, c])) for c, channel in enumerate(channels)]
        _write(writer, columns, totals, piece)
        if progress is not None:
            progress(totals.frames, reader.frames)
    _write(writer, [channel.finish() for channel in channels], totals, piece)
    return totals


def _write(writer: SoundWriter, columns: list[Float32s], totals: _Totals, piece: int) -> None:
    samples = np.stack(columns, axis=1)
    totals.after.add(samples, piece)
    writer.write(samples)


def _finite(samples: Float32s) -> tuple[Float32s, int]:
    """The samples with NaN and Inf as silence, and how many there were; a resampler would spread them."""
    if np.isfinite(np.vdot(samples, samples)):
        return samples, 0
    good = np.isfinite(samples)
    return np.where(good, samples, np.float32(0.0)), int(samples.size - np.count_nonzero(good))
