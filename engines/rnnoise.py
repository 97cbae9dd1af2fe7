"""RNNoise as a plug-in: the well-known small denoiser, through the wheel `pyrnnoise` (extra `pse-stream[rnnoise]`).

RNNoise (Valin 2018, arXiv:1709.08243; the wheel holds version 0.2 with its larger network) wants 480 samples at 48 kHz.
The spectral grid is the same at every rate, so no resampler is needed: the 257 bins are the lowest of a 48 kHz frame.

    frame -> synthesis at 48 kHz -> level -> 10 ms blocks -> RNNoise -> level undone -> 8 ms hops -> analysis -> frame

Delay, in samples at 48 kHz: synthesis 384, RNNoise 960 (measured), waiting for whole blocks 384, and 192 of padding
to a whole number of hops: 1920, five hops.
RNNoise itself is not level-independent (-30 dB in costs 1.3 dB of SI-SDR): a slow gain brings every voice to the level
it likes best, and is undone sample by sample behind it.
"""

from __future__ import annotations

import ctypes
import importlib.util
import math
import weakref
from typing import Any

import numpy as np

from pse_stream.dsp.spec import ENGINE_BINS, ENGINE_RATE, HOPS_PER_SECOND, Complex64s, Float32s, STFTSpec
from pse_stream.dsp.stft import Analysis, Synthesis
from pse_stream.engines.contract import EngineInfo, Level, frame_energy

if importlib.util.find_spec("pyrnnoise") is None:
    raise ImportError("RNNoise is not installed; `pip install pse-stream[rnnoise]` adds it.")

SAMPLE_RATE = 48_000  # Hz; RNNoise knows no other
BLOCK = 480  # samples; 10 ms
FULL_SCALE = 32768.0  # RNNoise counts in 16-bit steps
RNNOISE_DELAY = 960  # samples from block in to block out; found by cross-correlation with version 0.2
LOOKAHEAD_HOPS = 5
# 14 full-band pairs, 0…15 dB, against RNNoise without a level of ours: SI-SDR +0.14 dB, PESQ +0.04 (-40 dBFS: +0.02 dB,
# -0.01). A level that follows peaks scored the same and left RNNoise deaf for many seconds after a bang.
TARGET_DB = -50.0  # dBFS, mean of the active frames
ACTIVE_DB = 10.0  # a frame further below the level than this is a pause
ACTIVE_S, PAUSE_S = 0.5, 5.0  # how fast the level follows
POWER_FLOOR = 1e-12  # mean square of samples (-120 dBFS); below it there is nothing to bring up

CARD = """\
RNNoise 0.2 (Valin 2018; BSD licence) through the wheel `pyrnnoise` (Apache 2.0). Trained by its authors; not ours.
Good: small, quick, steady noise. Known limits: 40 ms of delay here (its own 20 ms, blocks of 10 ms against hops of
8 ms, one hop of synthesis), nothing above 8 kHz of its own, thin voices under loud noise.
"""

_HOP = STFTSpec(SAMPLE_RATE).hop
_WAITING = LOOKAHEAD_HOPS * _HOP - _HOP - RNNOISE_DELAY  # samples in the output queue at the start: 576
_FLOAT_POINTER = ctypes.POINTER(ctypes.c_float)


class RNNoiseEngine:
    """One stream of RNNoise."""

    info = EngineInfo(
        id="rnnoise",
        title="RNNoise 0.2",
        family="rnnoise",
        levels=(Level(name="full", parameters=2_900_000),),
        lookahead_hops=LOOKAHEAD_HOPS,
        licence="BSD-3-Clause",
        card=CARD,
    )

    def __init__(self) -> None:
        self.bad_frames = 0
        spec = STFTSpec(SAMPLE_RATE)
        self._synthesis, self._analysis = Synthesis(spec), Analysis(spec)
        self._frame = np.zeros(spec.n_bins, np.complex64)  # (769,) scratch; above 8 kHz silence goes in
        self._hop = np.zeros(spec.hop, np.float32)  # (384,) scratch
        self._leveller = _Leveller(spec.hop)
        self._blocks = _Blocks()
        self._queue = _Queue(_WAITING)

    def reset(self) -> None:
        """Forget the past; the next frame is the first."""
        for part in (self._synthesis, self._analysis, self._leveller, self._blocks, self._queue):
            part.reset()

    def step(self, frame: Complex64s, out: Complex64s, level: int) -> None:
        """Enhance one frame; see the contract."""
        energy = frame_energy(frame)
        self._frame.fill(0.0)
        if math.isfinite(energy):
            self._frame[:ENGINE_BINS] = frame
        else:
            self.bad_frames, energy = self.bad_frames + 1, 0.0
        self._synthesis.process(self._frame, out=self._hop)
        gains = self._leveller.next(energy)
        clean = self._blocks.process(self._hop, gains)
        if clean is not None:
            self._queue.push(clean)
        self._queue.pop(self._hop)
        self._analysis.process(self._hop, out=self._frame)
        out[:] = self._frame[:ENGINE_BINS]

    def fork(self) -> RNNoiseEngine:
        """Another stream."""
        return RNNoiseEngine()


class _Leveller:
    """Gains that bring the active frames to `TARGET_DB` on average, whatever the microphone does."""

    def __init__(self, hop: int) -> None:
        window = STFTSpec(ENGINE_RATE).analysis_window
        self._to_power = 2.0 / (len(window) * float(window @ window))  # Parseval: bins to mean square of samples
        self._active, self._pause = (1.0 - math.exp(-1.0 / (HOPS_PER_SECOND * s)) for s in (ACTIVE_S, PAUSE_S))
        self._ramp = np.arange(1, hop + 1, dtype=np.float32) / np.float32(hop)  # (hop,)
        self._gains = np.ones(hop, np.float32)  # (hop,) what `next` gives
        self.reset()

    def reset(self) -> None:
        self._level_db = self._gain = 0.0
        self._heard = 0  # frames that were not silent

    def next(self, energy: float) -> Float32s:
        """Gains of the next hop, (hop,) float32, above 0; `energy` as `contract.frame_energy`."""
        power = energy * self._to_power
        if power > POWER_FLOOR:
            self._hear(10.0 * math.log10(power))
        if not self._heard:
            self._gains.fill(1.0)
            return self._gains
        gain = 10.0 ** ((TARGET_DB - self._level_db) / 20.0)
        before = self._gain or gain
        np.multiply(self._ramp, np.float32(gain - before), out=self._gains)
        self._gains += np.float32(before)
        self._gain = gain
        return self._gains

    def _hear(self, power_db: float) -> None:
        self._heard += 1
        if power_db > self._level_db - ACTIVE_DB or self._heard == 1:
            # Decibels, not powers, are averaged: a bang must not make what follows too quiet.
            self._level_db += max(self._active, 1.0 / self._heard) * (power_db - self._level_db)
        else:
            self._level_db += self._pause * (power_db - self._level_db)


class _Blocks:
    """Hops of 384 samples through RNNoise's blocks of 480, with gains that are undone behind it."""

    def __init__(self) -> None:
        from pyrnnoise import rnnoise  # imports an audio library of its own: 0.5 s

        self._library: Any = rnnoise
        self._samples = np.zeros(BLOCK + _HOP, np.float32)  # (864,) waiting to fill a block
        # Gains of the newest block and of the two before: RNNoise gives back the block of 960 samples ago.
        self._gains = np.ones((1 + RNNOISE_DELAY // BLOCK, BLOCK), np.float32)  # (3, 480)
        self._next_gains = np.ones(BLOCK + _HOP, np.float32)  # (864,) of the waiting samples
        self._block = np.zeros(BLOCK, np.float32)  # (480,) RNNoise works in place
        self._pointer = self._block.ctypes.data_as(_FLOAT_POINTER)
        self._waiting = 0
        self._free = self._create()

    def _create(self) -> weakref.finalize[[Any], _Blocks]:
        self._state = self._library.create()
        return weakref.finalize(self, self._library.destroy, self._state)

    def reset(self) -> None:
        self._free()
        self._free = self._create()
        self._gains.fill(1.0)
        self._waiting = 0

    def process(self, hop: Float32s, gains: Float32s) -> Float32s | None:
        """None, or one clean block, (480,) float32, valid until the next call."""
        n = self._waiting
        self._samples[n : n + _HOP] = hop
        self._next_gains[n : n + _HOP] = gains
        self._waiting = n = n + _HOP
        if n < BLOCK:
            return None
        np.multiply(self._samples[:BLOCK], self._next_gains[:BLOCK], out=self._block)
        self._block *= np.float32(FULL_SCALE)
        self._gains[:-1] = self._gains[1:]
        self._gains[-1] = self._next_gains[:BLOCK]
        self._library.lib.rnnoise_process_frame(self._state, self._pointer, self._pointer)
        self._block /= self._gains[0]
        self._block *= np.float32(1.0 / FULL_SCALE)
        rest = n - BLOCK
        self._samples[:rest] = self._samples[BLOCK:n]
        self._next_gains[:rest] = self._next_gains[BLOCK:n]
        self._waiting = rest
        return self._block


class _Queue:
    """Samples on their way back from blocks to hops; starts with the silence that makes the delay whole."""

    def __init__(self, silence: int) -> None:
        self._silence = silence
        self._samples = np.zeros(silence + 2 * BLOCK, np.float32)  # (1536,)
        self._n = silence

    def reset(self) -> None:
        self._samples.fill(0.0)
        self._n = self._silence

    def push(self, block: Float32s) -> None:
        """(480,) float32."""
        self._samples[self._n : self._n + BLOCK] = block
        self._n += BLOCK

    def pop(self, hop: Float32s) -> None:
        """Write the oldest samples to (384,) float32."""
        hop[:] = self._samples[:_HOP]
        self._n -= _HOP
        self._samples[: self._n] = self._samples[_HOP : _HOP + self._n]
