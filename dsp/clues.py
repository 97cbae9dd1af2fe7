"""What a frame and its cleaned lower part tell about the bands above 8 kHz: what the head in `highband.py` reads.

A frame has 40 bands of 500 Hz, 16 of which an engine sees. Per hop, all as logarithms of ratios of powers, so that the
level of the microphone does not matter:
- level of each band, against the mean of the last seconds;
- its minimum over the last second (the window of minima of `noise.py`): steady noise stays near it;
- what the engine left of each band below 8 kHz;
- per 1 kHz above 8 kHz, what is usual there while the engine hears noise only, and while it hears a voice: where the
  two are far apart, the noise has no treble and whatever stands out is the voice's.
"""

from __future__ import annotations

import math

import numpy as np

from pse_stream.dsp.noise import ONE, SUBWINDOW_HOPS, TINY, Minima
from pse_stream.dsp.spec import HOPS_PER_SECOND, Complex64s, Float32s, STFTSpec

BAND_BINS = 16  # 500 Hz
BANDS, LOW_BANDS = 40, 16  # 0 to 20 kHz; 0 to 8 kHz, what an engine sees
WIDE_BANDS = 12  # of 1 kHz: 8 to 20 kHz
N_CLUES = 2 * BANDS + LOW_BANDS + 2 * WIDE_BANDS + 4
KEPT = N_CLUES - 4  # index of the mean share of power that the engine left, 0..1

LEVEL_HOPS = 2.0 * HOPS_PER_SECOND  # of the running mean
USUAL_HOPS = 6.0 * HOPS_PER_SECOND  # of what is usual
FILL_HOPS = 4  # 32 ms until the window holds sound only
SMOOTHING = np.float32(0.8)  # of the power per hop, for the minima
QUIETEST = np.float32(1e-8)  # 80 dB under the running mean nothing matters
LEAST_KEPT = np.float32(1e-3)  # of power that an engine leaves; 30 dB down, all is gone
NOISE_KEPT, VOICE_KEPT = 0.05, 0.5  # mean share kept: an engine that leaves less hears noise, more: a voice
NO_POWER = np.float32(1e-30)  # keeps the share of nothing at one
SURE_HOPS = 40.0  # of noise or of voice until it is known what is usual


class Clues:
    """Frames in, clues out.

    Parameters
    ----------
    spec : STFTSpec
        A grid with bins above 8 kHz. Bands beyond half its rate count as empty.
    """

    def __init__(self, spec: STFTSpec) -> None:
        self._read = min((spec.n_bins - 1) // BAND_BINS, BANDS)  # bands that the grid has
        self._mean = 0.0  # running mean of the frame's power
        self._heard = 0  # hops in it: all but digital silence
        self._hops = 0
        self._power = np.zeros(BANDS, np.float32)  # (BANDS,) of the noisy frame
        self._kept = np.zeros(LOW_BANDS, np.float32)  # (LOW_BANDS,) share that the engine left, 0..1
        self._smooth = np.zeros(BANDS, np.float32)  # (BANDS,) power, smoothed
        self._minima = Minima(BANDS)
        self._usual = np.zeros((2, WIDE_BANDS), np.float32)  # (2, WIDE_BANDS) log power in noise, in a voice
        self._seen = [0.0, 0.0]  # hops behind them
        self._squares = np.zeros((BANDS, 2 * BAND_BINS), np.float32)  # (BANDS, 32) scratch: real and imaginary parts'
        self._before = np.zeros(LOW_BANDS, np.float32)  # (LOW_BANDS,) scratch
        self._wide = np.zeros(WIDE_BANDS, np.float32)  # (WIDE_BANDS,) scratch: log power
        self._floors = np.full(2 * BANDS + LOW_BANDS, QUIETEST, np.float32)  # (2 * BANDS + LOW_BANDS,) constant
        self._floors[2 * BANDS :] = LEAST_KEPT

    def process(self, noisy: Complex64s, clean: Complex64s, *, out: Float32s) -> bool:
        """Write the clues of this hop.

        Parameters
        ----------
        noisy : (n_bins,) complex64
            The frame that went in, finite.
        clean : (257,) complex64
            What the engine made of its lowest 257 bins, finite.
        out : (N_CLUES,) float32
            Written in full.

        Returns
        -------
        bool
            False if the frame is louder than squares in float32 can say; then nothing is written or learnt.
        """
        total = float(np.vdot(noisy[1:], noisy[1:]).real)
        if not math.isfinite(total):
            return False
        self._listen(noisy, clean)
        self._follow(total)
        ratios = out[: 2 * BANDS + LOW_BANDS]
        ratios[:BANDS] = self._power
        ratios[BANDS : 2 * BANDS] = self._minima.values
        ratios[: 2 * BANDS] *= np.float32(1.0 / max(self._mean, float(TINY)))
        ratios[2 * BANDS :] = self._kept
        ratios += self._floors
        np.log(ratios, out=ratios)
        self._compare(float(self._kept.sum()) / LOW_BANDS, out)
        return True

    def _listen(self, noisy: Complex64s, clean: Complex64s) -> None:
        """Power of each band, and the share that the engine left of the lower ones."""
        squares = self._squares[: self._read]
        parts = noisy[1 : 1 + self._read * BAND_BINS].view(np.float32).reshape(squares.shape)
        np.multiply(parts, parts, out=squares)
        np.add.reduce(squares, axis=1, out=self._power[: self._read])
        squares = self._squares[:LOW_BANDS]
        parts = clean[1:].view(np.float32).reshape(squares.shape)
        np.multiply(parts, parts, out=squares)
        np.add.reduce(squares, axis=1, out=self._kept)
        self._kept += NO_POWER
        np.add(self._power[:LOW_BANDS], NO_POWER, out=self._before)
        self._kept /= self._before
        np.minimum(self._kept, ONE, out=self._kept)

    def _follow(self, total: float) -> None:
        """Running mean of the frame's power, and minima of the bands'."""
        power = self._power
        if total > 0.0:
            self._heard += 1
            self._mean += (total - self._mean) / min(self._heard, LEVEL_HOPS)
        if self._hops == 0:
            self._smooth[:] = power
        self._smooth -= power
        self._smooth *= SMOOTHING
        self._smooth += power
        if self._hops < FILL_HOPS:
            self._minima.start(self._smooth)
        self._minima.update(self._smooth)
        if self._hops % SUBWINDOW_HOPS == SUBWINDOW_HOPS - 1:
            self._minima.turn(self._smooth)
        self._hops += 1

    def _compare(self, kept: float, out: Float32s) -> None:
        """Learn what is usual and write it, with how sure it is."""
        levels = out[LOW_BANDS:BANDS].reshape(WIDE_BANDS, 2)
        np.add(levels[:, 0], levels[:, 1], out=self._wide)
        self._wide *= np.float32(0.5)
        mean = math.log(max(self._mean, float(TINY)))
        self._wide += np.float32(mean)
        if self._hops <= FILL_HOPS:
            self._usual[:] = self._wide
        elif kept < 2.0 * NOISE_KEPT:
            self._learn(0, min(1.0, 2.0 - kept / NOISE_KEPT))
        elif kept > 0.8 * VOICE_KEPT:
            self._learn(1, min(1.0, 5.0 * (kept / VOICE_KEPT - 0.8)))
        usual = out[2 * BANDS + LOW_BANDS : -4]
        np.subtract(self._usual.reshape(-1), np.float32(mean), out=usual)
        out[-4:] = kept, min(1.0, self._seen[0] / SURE_HOPS), min(1.0, self._seen[1] / SURE_HOPS), 1.0

    def _learn(self, which: int, share: float) -> None:
        self._seen[which] += share
        self._wide -= self._usual[which]
        self._wide *= np.float32(share / min(1.0 + self._seen[which], USUAL_HOPS))
        self._usual[which] += self._wide

    def reset(self) -> None:
        """Forget the past; the next hop is the first."""
        self._mean = 0.0
        self._heard = self._hops = 0
        self._usual.fill(0.0)
        self._seen = [0.0, 0.0]
