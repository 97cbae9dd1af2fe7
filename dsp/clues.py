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

from pse_stream.dsp.noise import HALF, ONE, SUBWINDOW_HOPS, TINY, Minima
from pse_stream.dsp.spec import HOPS_PER_SECOND, Complex64s, Float32s, STFTSpec

BAND_BINS = 16  # 500 Hz
ALL_BANDS, BANDS, LOW_BANDS = 48, 40, 16  # 0 to 24 kHz; to 20 kHz, what is judged; to 8 kHz, what an engine sees
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
NO_POWER = np.float32(1e-36)  # keeps the share of nothing at one
SURE_HOPS = 40.0  # of noise or of voice until it is known what is usual
ONES = np.ones(2 * BAND_BINS, np.float32)  # a sum by np.dot costs less than one by np.sum
SHARES = np.full(LOW_BANDS, 1.0 / LOW_BANDS, np.float32)  # exact: a power of two


class Clues:
    """Frames in, clues out.

    Parameters
    ----------
    spec : STFTSpec
        A grid with bins above 8 kHz. Bands beyond half its rate count as empty.
    out : (N_CLUES,) float32
        Where each hop's clues are written, in full.
    """

    def __init__(self, spec: STFTSpec, out: Float32s) -> None:
        self._mean = 0.0  # running mean of the frame's power
        self._heard = 0  # hops in it: all but digital silence
        self._hops = 0
        bands = (spec.n_bins - 1) // BAND_BINS  # of the grid
        powers = np.zeros(LOW_BANDS + ALL_BANDS, np.float32)  # (16 + 48,) of the clean frame and of the noisy one
        self._left, self._whole = powers[:LOW_BANDS], powers[LOW_BANDS:]  # views
        self._written, self._heard_bands = powers[: LOW_BANDS + bands], self._whole[:bands]  # views: bands of the grid
        self._squares = np.zeros(bands * 2 * BAND_BINS, np.float32)  # (bands * 32,) scratch
        self._power, self._low = self._whole[:BANDS], self._whole[:LOW_BANDS]  # views
        self._smooth = np.zeros(BANDS, np.float32)  # (BANDS,) power, smoothed
        self._minima = Minima(BANDS)
        self._usual = np.zeros((2, WIDE_BANDS), np.float32)  # (2, WIDE_BANDS) log power in noise, in a voice
        self._seen = [0.0, 0.0]  # hops behind them
        self._wide = np.zeros(WIDE_BANDS, np.float32)  # (WIDE_BANDS,) scratch: log power
        self._floors = np.full(2 * BANDS + LOW_BANDS, QUIETEST, np.float32)  # (2 * BANDS + LOW_BANDS,) constant
        self._floors[2 * BANDS :] = LEAST_KEPT
        self._out = out
        self._ratios = out[: 2 * BANDS + LOW_BANDS]  # views of it
        self._levels, self._least, self._kept = np.split(self._ratios, (BANDS, 2 * BANDS))
        self._even, self._odd = out[LOW_BANDS:BANDS:2], out[LOW_BANDS + 1 : BANDS : 2]
        self._told_usual = out[2 * BANDS + LOW_BANDS : KEPT].reshape(2, WIDE_BANDS)

    def process(self, noisy: Complex64s, clean: Complex64s) -> bool:
        """Write the clues of this hop.

        Parameters
        ----------
        noisy : (n_bins,) complex64
            The frame that went in, finite.
        clean : (257,) complex64
            What the engine made of its lowest 257 bins, finite.

        Returns
        -------
        bool
            False if the frame is louder than squares in float32 can say; then nothing is written or learnt.
        """
        parts = noisy[1:].view(np.float32)  # real and imaginary parts
        total = float(np.vdot(parts, parts))  # vdot says nothing where it overflows
        if not math.isfinite(total):
            return False
        squares = self._squares
        np.multiply(parts, parts, out=squares)
        np.dot(squares.reshape(-1, 2 * BAND_BINS), ONES, out=self._heard_bands)
        parts, squares = clean[1:].view(np.float32), squares[: LOW_BANDS * 2 * BAND_BINS]
        np.multiply(parts, parts, out=squares)
        np.dot(squares.reshape(-1, 2 * BAND_BINS), ONES, out=self._left)
        self._written += NO_POWER
        self._follow(total)
        per_mean = np.float32(1.0 / max(self._mean, float(TINY)))
        np.multiply(self._power, per_mean, out=self._levels)
        np.multiply(self._minima.values, per_mean, out=self._least)
        np.divide(self._left, self._low, out=self._kept)
        np.minimum(self._kept, ONE, out=self._kept)
        kept = float(np.dot(self._kept, SHARES))
        self._ratios += self._floors
        np.log(self._ratios, out=self._ratios)
        self._compare(kept)
        return True

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

    def _compare(self, kept: float) -> None:
        """Learn what is usual and write it, with how sure it is."""
        np.add(self._even, self._odd, out=self._wide)
        self._wide *= HALF
        mean = math.log(max(self._mean, float(TINY)))
        self._wide += np.float32(mean)
        if self._hops <= FILL_HOPS:
            self._usual[:] = self._wide
        elif kept < 2.0 * NOISE_KEPT:
            self._learn(0, min(1.0, 2.0 - kept / NOISE_KEPT))
        elif kept > 0.8 * VOICE_KEPT:
            self._learn(1, min(1.0, 5.0 * (kept / VOICE_KEPT - 0.8)))
        np.subtract(self._usual, np.float32(mean), out=self._told_usual)
        self._out[KEPT] = kept
        self._out[KEPT + 1] = min(1.0, self._seen[0] / SURE_HOPS)
        self._out[KEPT + 2] = min(1.0, self._seen[1] / SURE_HOPS)
        self._out[-1] = 1.0

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
