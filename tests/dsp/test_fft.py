"""The short way to numpy's kernels gives what the public functions give."""

from __future__ import annotations

import numpy as np
import pytest

from pse_stream.dsp import fft
from pse_stream.dsp.fft import RealFFT

LENGTHS = (256, 512, 768, 1024, 1536)  # 32 ms at the rates of the grid


@pytest.fixture(params=["kernels", "public functions"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "public functions":
        monkeypatch.setattr(fft, "_kernels", None)
    return str(request.param)


@pytest.mark.parametrize("n", LENGTHS)
def test_forward_is_rfft(way: str, n: int) -> None:
    wave, out = np.random.default_rng(n).standard_normal(n).astype(np.float32), np.empty(n // 2 + 1, np.complex64)
    RealFFT(n).forward(wave, out=out)
    expected = np.fft.rfft(wave.astype(float))
    assert np.abs(out - expected).max() < 3e-7 * np.abs(expected).max()


@pytest.mark.parametrize("n", LENGTHS)
def test_backward_is_irfft_and_undoes_forward(way: str, n: int) -> None:
    wave, bins = np.random.default_rng(n).standard_normal(n).astype(np.float32), np.empty(n // 2 + 1, np.complex64)
    back = np.empty(n, np.float32)
    RealFFT(n).forward(wave, out=bins)
    kept = bins.copy()
    RealFFT(n).backward(bins, out=back)
    np.testing.assert_allclose(back, np.fft.irfft(kept), atol=1e-6)
    np.testing.assert_allclose(back, wave, atol=1e-5)
    np.testing.assert_array_equal(bins, kept)


def test_this_numpy_has_the_kernels() -> None:
    """If this fails, numpy has moved them: a hop costs 0.09 ms more until dsp/fft.py is told where they are."""
    assert fft.HAS_KERNELS
