"""Real transforms of one frame in single precision, straight into arrays that exist.

`np.fft.rfft` and `irfft` are Python around a compiled kernel, and `rfft` computes float32 in float64. Between two hops
caches are cold, and then a pair of 1536 points takes 179 us that way and 90 us by calling the kernels (one pair every
8 ms, medians of thread CPU time, numpy 2.4), of the 1000 us that a hop may cost. The kernels (pocketfft, as ufuncs)
stand in a private module of numpy 2; should it move, the public functions do the same, only slower, and
tests/dsp/test_fft.py says so. Single precision costs nothing that is heard: its noise lies 140 dB under the frame.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pse_stream.dsp.spec import Complex64s, Float32s

try:
    from numpy.fft import _pocketfft_umath as _kernels  # type: ignore[attr-defined]
except ImportError:  # another numpy
    _kernels: Any = None  # type: ignore[no-redef]

HAS_KERNELS = _kernels is not None
_ONE = np.float32(1.0)


class RealFFT:
    """Forward and backward transform of one even length."""

    def __init__(self, n: int) -> None:
        self.n = n  # samples
        self._scale = np.float32(1.0 / n)  # of the backward transform

    def forward(self, wave: Float32s, *, out: Complex64s) -> None:
        """Bins of (n,) float32 into (n / 2 + 1,) complex64."""
        if _kernels is None:
            np.fft.rfft(wave, out=out)  # type: ignore[arg-type]  # numpy's stub knows complex128 only
        else:
            _kernels.rfft_n_even(wave, _ONE, out=out)

    def backward(self, bins: Complex64s, *, out: Float32s) -> None:
        """Samples of (n / 2 + 1,) complex64 into (n,) float32; undoes `forward`."""
        if _kernels is None:
            np.fft.irfft(bins, n=self.n, out=out)  # type: ignore[arg-type]  # as above, float64
        else:
            _kernels.irfft(bins, self._scale, out=out)
