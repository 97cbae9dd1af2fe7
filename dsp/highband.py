"""Gains for the bins above 8 kHz, that no engine sees.

    noisy and cleaned frame -> powers of bands of 500 Hz -> clues -> a small network -> a gain per band

The head (`highband.npz`, trained by `training/highband.py`) hears the frame above and below 8 kHz (`clues.py`) and what
the engine left below. Two things hold whatever it says, for any engine:
- a frame that the engine passes unchanged passes unchanged, bit for bit; between 85 and 100 % of the power kept, the
  head's gains fade out;
- a frame that the engine silences is silent.
docs/highband.md says why, and how good it is.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import numpy as np

from pse_stream.dsp.clues import BAND_BINS, BANDS, KEPT, LOW_BANDS, N_CLUES, WIDE_BANDS, Clues
from pse_stream.dsp.spec import ENGINE_BINS, Complex64s, Float32s, STFTSpec
from pse_stream.errors import SpecError

HEAD = Path(__file__).with_name("highband.npz")
JUDGED = BANDS - LOW_BANDS  # bands with a gain of their own, 8 to 20 kHz
HIGH_BANDS = 32  # 8 to 24 kHz; those above 20 kHz, where hardly anything is heard, follow the last that is judged
LEAST_GAIN = 0.03  # -30 dB: all the way down pumps
TOUCHED = 0.15  # share of the power taken away from which on the head has its full say
MEMORIES = (0.8, 0.95)  # of the means of clues, per hop: the last 40 and 160 ms
MEMORY = np.array(MEMORIES, np.float32)[:, None]
SILENT = 1e-4  # share kept below which the engine means silence (-40 dB); 40 dB under that nothing is left


Weights = tuple[Float32s, Float32s, Float32s, Float32s]  # frame, band, mid, tell


class Head:
    """One small network for all bands, in NumPy: what a frame says, now and lately, and what a band says.

    gain = sigmoid(tell . tanh(mid . tanh(frame . clues + band . clues of this band)))

    Weights as `training/highband.py` folds them. `frame` (H, 3 N_CLUES) and `band` (H, 12) read the clues and their
    running means over 5 and 20 hops; per time the band's are level, minimum, usual in noise, usual in a voice. `mid`
    (M, H + 1), `tell` (M + 1), halved: the sigmoid of 2 x is read off tanh(x).
    """

    def __init__(self, weights: Weights | None = None) -> None:
        self._frame, self._band, self._mid, self._tell = weights or read_head()
        size, times = len(self._frame), len(MEMORIES) + 1
        self._clues = np.zeros((times, N_CLUES), np.float32)  # (times, N_CLUES) now, and means
        self.now, self._means = self._clues[0], self._clues[1:]  # views; `now` is to be filled before each step
        self._flat = self._clues.reshape(-1)  # view
        self._all = np.zeros((size, 1), np.float32)  # (H, 1) what holds for all bands
        self._own = np.zeros((times, 4, JUDGED), np.float32)  # (times, 4, JUDGED) clues of each band
        usual = self._clues[:, 2 * BANDS + LOW_BANDS : 2 * BANDS + LOW_BANDS + 2 * WIDE_BANDS]
        self._level_least = self._clues[:, : 2 * BANDS].reshape(times, 2, BANDS)[:, :, LOW_BANDS:]  # view
        self._usual = usual.reshape(times, 2, WIDE_BANDS, 1)  # view
        self._own_usual = self._own[:, 2:].reshape(times, 2, WIDE_BANDS, 2)  # view
        self._hidden = np.ones((size + 1, JUDGED), np.float32)  # (H + 1, JUDGED), the last row stays one
        self._last = np.ones((len(self._mid) + 1, JUDGED), np.float32)  # (M + 1, JUDGED), the last row stays one
        self._fresh = True

    def process(self, *, out: Float32s) -> None:
        """Write gains, (JUDGED,) float32, from the clues in `now`."""
        self._remember()
        np.dot(self._frame, self._flat, out=self._all[:, 0])
        self._own[:, :2] = self._level_least
        self._own_usual[:] = self._usual
        hidden, last = self._hidden[:-1], self._last[:-1]
        np.dot(self._band, self._own.reshape(-1, JUDGED), out=hidden)
        hidden += self._all
        np.tanh(hidden, out=hidden)
        np.dot(self._mid, self._hidden, out=last)
        np.tanh(last, out=last)
        np.dot(self._tell, self._last, out=out)
        np.tanh(out, out=out)
        out *= np.float32(0.5 * (1.0 - LEAST_GAIN))
        out += np.float32(0.5 * (1.0 + LEAST_GAIN))

    def _remember(self) -> None:
        """Put what is now into the means."""
        if self._fresh:
            self._means[:] = self.now
            self._fresh = False
            return
        self._means -= self.now
        self._means *= MEMORY
        self._means += self.now

    def reset(self) -> None:
        """Forget the past."""
        self._fresh = True


class HighBand:
    """Fill the bins above 8 kHz, from a frame and what the engine made of its lower part."""

    latency_samples = 0

    def __init__(self, spec: STFTSpec) -> None:
        self.spec = spec
        if spec.n_bins <= ENGINE_BINS:
            return
        self._head = Head()
        self._clues = Clues(spec, out=self._head.now)
        self._gains = np.ones((HIGH_BANDS, 1), np.float32)  # (HIGH_BANDS, 1)
        self._judged = self._gains[:JUDGED, 0]  # (JUDGED,) view

    def process(self, noisy: Complex64s, clean: Complex64s, *, out: Complex64s) -> None:
        """Write bins 257 and up.

        Parameters
        ----------
        noisy : (n_bins,) complex64
            The frame that went in, finite.
        clean : (257,) complex64
            What the engine made of its lowest 257 bins, finite.
        out : (n_bins,) complex64
            Only bins from 257 on are written; may be `noisy`.
        """
        if self.spec.n_bins <= ENGINE_BINS:
            return
        if not self._clues.process(noisy, clean):
            out[ENGINE_BINS:] = 0.0  # as engines do with such a frame
            return
        self._head.process(out=self._judged)
        self._bound(float(self._head.now[KEPT]))
        high = noisy[ENGINE_BINS:].reshape(-1, BAND_BINS)
        np.multiply(high, self._gains[: len(high)], out=out[ENGINE_BINS:].reshape(-1, BAND_BINS))

    def _bound(self, kept: float) -> None:
        """What holds for any head: nothing touched, nothing touched; silence, silence."""
        if kept > 1.0 - TOUCHED:
            np.power(self._judged, np.float32((1.0 - kept) / TOUCHED), out=self._judged)
        elif kept < SILENT:
            self._judged *= np.float32(math.sqrt(kept / SILENT) if kept > SILENT * SILENT else 0.0)
        self._gains[JUDGED:] = self._gains[JUDGED - 1]

    def reset(self) -> None:
        """Forget the past; the next frame is the first."""
        if self.spec.n_bins > ENGINE_BINS:
            self._clues.reset()
            self._head.reset()


@cache
def read_head(file: Path = HEAD) -> Weights:
    """The arrays of a head; a file is read once."""
    with np.load(file, allow_pickle=False) as content:
        frame, band, mid, tell = (content[name].astype(np.float32) for name in ("frame", "band", "mid", "tell"))
    times, size, last = len(MEMORIES) + 1, len(frame), len(mid)
    found = [array.shape for array in (frame, band, mid, tell)]
    expected = [(size, times * N_CLUES), (size, times * 4), (last, size + 1), (last + 1,)]
    if found != expected:
        raise SpecError(
            f"{file.name} holds arrays of {found}; expected {expected}",
            hint="It belongs to another version; install the package again.",
        )
    return frame, band, mid, tell
