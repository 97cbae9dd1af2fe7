"""Whole batches on the house spectral grid: framing and real FFT of many signals at once.

The windows are those of `dsp.spec`, so what a network sees in training is what it sees live.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from pse_stream.dsp.spec import ENGINE_RATE, STFTSpec

_GRID = STFTSpec(ENGINE_RATE)
HOP = _GRID.hop


def spectra(audio: NDArray[np.float32]) -> NDArray[np.complex64]:
    """Frames of each signal, the first one ending with the first hop (zeros before it).

    Parameters
    ----------
    audio : (batch, samples) float32
        `samples` a multiple of 128.

    Returns
    -------
    (batch, samples / 128, 257) complex64
    """
    batch, n = audio.shape
    if n % HOP:
        raise ValueError(f"audio has {n} samples; expected a multiple of {HOP}: pad the end with zeros")
    padded = np.zeros((batch, n + _GRID.n_fft - HOP), np.float32)
    padded[:, _GRID.n_fft - HOP :] = audio
    frames = np.lib.stride_tricks.sliding_window_view(padded, _GRID.n_fft, axis=1)[:, ::HOP]
    return fft.rfft(frames * _GRID.analysis_window, axis=-1)
