"""One grid for every rate: sizes, windows, and the same frame at 16 and 48 kHz."""

from __future__ import annotations

import numpy as np
import pytest

from pse_stream.dsp.spec import ENGINE_BINS, GRID_RATES, STFTSpec
from pse_stream.dsp.stft import transform
from pse_stream.errors import SpecError

from ..reference import slow_stft


@pytest.mark.parametrize("rate", GRID_RATES)
def test_sizes_are_the_same_times_at_every_rate(rate: int):
    spec = STFTSpec(rate)
    assert (1000 * spec.hop / rate, 1000 * spec.n_fft / rate, 1000 * spec.n_synthesis / rate) == (8.0, 32.0, 16.0)
    assert 1000 * spec.latency_samples / rate == 16.0
    assert rate / spec.n_fft == 31.25
    assert spec.n_engine_bins == min(spec.n_fft // 2 + 1, ENGINE_BINS)


@pytest.mark.parametrize("rate", [44_100, 22_050, 11_025, 96_000, 0, -16_000])
def test_rate_off_the_grid_says_what_fits(rate: int):
    with pytest.raises(SpecError) as caught:
        STFTSpec(rate)
    assert str(caught.value) == (
        f"sample rate {rate} Hz has no place on the 8 ms grid; expected one of 8000, 16000, 24000, 32000, 48000 "
        "Resample first (dsp.resample)."
    )


@pytest.mark.parametrize("rate", GRID_RATES)
def test_windows_are_those_of_the_definition(rate: int):
    spec = STFTSpec(rate)
    analysis, synthesis = slow_stft.windows(spec.hop)
    np.testing.assert_allclose(spec.analysis_window, analysis, atol=1e-7)
    np.testing.assert_allclose(spec.synthesis_window, synthesis, atol=1e-6)


@pytest.mark.parametrize("rate", GRID_RATES)
def test_window_products_of_neighbouring_hops_sum_to_one(rate: int):
    spec = STFTSpec(rate)
    product = spec.analysis_window[-spec.n_synthesis :] * spec.synthesis_window
    np.testing.assert_allclose(product[: spec.hop] + product[spec.hop :], 1.0, atol=1e-6)


@pytest.mark.parametrize("rate", [24_000, 32_000, 48_000])
def test_engine_sees_the_same_frame_at_every_rate(rate: int):
    # 60 tones that both rates hold exactly; the grids differ only in where samples lie under the window.
    rng = np.random.default_rng(5)
    tones, phases = rng.uniform(100, 7_000, 60), rng.uniform(0, 2 * np.pi, 60)

    def frames(sample_rate: int) -> np.ndarray:
        times = (np.arange(sample_rate // 2) + 0.5) / sample_rate  # the windows are centred between samples
        wave = np.sin(2 * np.pi * np.outer(times, tones) + phases).sum(axis=1) * 0.01
        return transform(wave.astype(np.float32), STFTSpec(sample_rate))[5:55, :225]

    here, there = frames(16_000), frames(rate)
    # Half a sample of the two rates differs: a pure shift in time, undone here.
    shift = np.exp(2j * np.pi * 31.25 * np.arange(225) * (0.5 / 16_000 - 0.5 / rate))
    error = min(np.linalg.norm(there * s - here) / np.linalg.norm(here) for s in (shift, shift.conj(), 1.0))
    assert error < 5e-3
