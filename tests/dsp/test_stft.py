"""Samples to frames and back: the definition, perfect reconstruction, delay, causality, memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pse_stream.dsp.spec import GRID_RATES, STFTSpec
from pse_stream.dsp.stft import Analysis, Synthesis, inverse, transform
from pse_stream.errors import ShapeError

from ..reference import slow_stft


def _noise(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, n).astype(np.float32)


def _through(samples: np.ndarray, spec: STFTSpec, analysis: Analysis, synthesis: Synthesis) -> np.ndarray:
    out, frame = np.empty_like(samples), np.empty(spec.n_bins, np.complex64)
    for at in range(0, len(samples), spec.hop):
        analysis.process(samples[at : at + spec.hop], out=frame)
        synthesis.process(frame, out=out[at : at + spec.hop])
    return out


@pytest.mark.parametrize("rate", GRID_RATES)
def test_frames_are_those_of_the_definition(rate: int):
    spec = STFTSpec(rate)
    samples = _noise(10 * spec.hop)
    frames = transform(samples, spec)
    padded = np.concatenate([samples, np.zeros(spec.hop, np.float32)])
    for t in (0, 1, 5, 10):
        expected = slow_stft.frame(padded, spec.hop, t)
        np.testing.assert_allclose(frames[t], expected, atol=2e-6 * np.abs(expected).max() * np.sqrt(spec.n_fft))


@settings(max_examples=40, deadline=None)
@given(rate=st.sampled_from(GRID_RATES), n=st.integers(0, 5_000), seed=st.integers(0, 2**31), loud=st.floats(-90, 0))
def test_inverse_of_transform_is_the_signal(rate: int, n: int, seed: int, loud: float):
    spec = STFTSpec(rate)
    samples = _noise(n, seed) * np.float32(10 ** (loud / 20))
    again = inverse(transform(samples, spec), spec, n)
    assert again.dtype == np.float32
    assert again.shape == (n,)
    assert np.abs(again - samples).max(initial=0.0) <= 1e-6 * 10 ** (loud / 20) + 1e-9  # float32 rounding


@pytest.mark.parametrize("rate", GRID_RATES)
def test_impulse_comes_out_one_hop_later(rate: int):
    spec = STFTSpec(rate)
    samples = np.zeros(8 * spec.hop, np.float32)
    samples[2 * spec.hop + 17] = 1.0
    out = _through(samples, spec, Analysis(spec), synthesis := Synthesis(spec))
    assert int(np.abs(out).argmax()) == 2 * spec.hop + 17 + synthesis.latency_samples
    assert out[2 * spec.hop + 17 + spec.hop] == pytest.approx(1.0, abs=1e-6)
    assert spec.latency_samples == synthesis.latency_samples + spec.hop  # live, a hop must fill first


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_future_changes_nothing_before_it(rate: int):
    spec = STFTSpec(rate)
    first = _noise(20 * spec.hop)
    second = first.copy()
    second[12 * spec.hop :] = _noise(8 * spec.hop, 1)
    outs = [_through(x, spec, Analysis(spec), Synthesis(spec)) for x in (first, second)]
    np.testing.assert_array_equal(outs[0][: 12 * spec.hop], outs[1][: 12 * spec.hop])
    assert (outs[0][12 * spec.hop :] != outs[1][12 * spec.hop :]).any()


@pytest.mark.parametrize("rate", GRID_RATES)
def test_reset_equals_new(rate: int):
    spec = STFTSpec(rate)
    analysis, synthesis = Analysis(spec), Synthesis(spec)
    _through(_noise(6 * spec.hop, 3), spec, analysis, synthesis)
    analysis.reset()
    synthesis.reset()
    samples = _noise(6 * spec.hop, 4)
    used = _through(samples, spec, analysis, synthesis)
    np.testing.assert_array_equal(used, _through(samples, spec, Analysis(spec), Synthesis(spec)))


@pytest.mark.parametrize("value", [0.0, 1e-40, 1.0])
def test_silence_denormals_and_full_scale_stay_finite(value: float):
    spec = STFTSpec(48_000)
    samples = np.full(spec.hop, value, np.float32)
    out = _through(np.tile(samples, 20), spec, Analysis(spec), Synthesis(spec))
    assert np.isfinite(out).all()
    np.testing.assert_allclose(out[spec.hop :], np.tile(samples, 20)[spec.hop :], atol=1e-6)


def test_nothing_grows_hop_by_hop():
    spec = STFTSpec(48_000)
    analysis, synthesis, samples = Analysis(spec), Synthesis(spec), _noise(384 * 50)
    _through(samples, spec, analysis, synthesis)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(10):
        frame, out = np.empty(spec.n_bins, np.complex64), np.empty(spec.hop, np.float32)
        for at in range(0, len(samples), spec.hop):
            analysis.process(samples[at : at + spec.hop], out=frame)
            synthesis.process(frame, out=out)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 16_384  # the two arrays above; 500 frames would be 3 MB


def test_wrong_shapes_are_told_apart():
    spec = STFTSpec(16_000)
    with pytest.raises(ShapeError, match=r"shape \(2, 128\) was given; expected one dimension"):
        transform(np.zeros((2, 128), np.float32), spec)
    with pytest.raises(ShapeError, match=r"shape \(3, 129\) were given; expected \(frames, 257\)"):
        inverse(np.zeros((3, 129), np.complex64), spec, 0)
    with pytest.raises(ShapeError, match="3 frames hold 256 samples, not 257"):
        inverse(np.zeros((3, 257), np.complex64), spec, 257)
