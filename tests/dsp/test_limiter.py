"""The last stage: never above the ceiling, never a bit changed while quiet, a tone stays a tone."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pse_stream.dsp.limiter import CEILING_DB, Limiter

CEILING = 10 ** (CEILING_DB / 20)


def _limit(samples: np.ndarray, hop: int, limiter: Limiter | None = None) -> np.ndarray:
    limiter, out = limiter or Limiter(hop), samples.copy()
    for at in range(0, len(out), hop):
        limiter.process(out[at : at + hop])
    return out


def _sine(hz: float, rate: int, seconds: float, amplitude: float) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * hz * np.arange(int(rate * seconds)) / rate)).astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), gain_db=st.floats(-20, 60), rate=st.sampled_from([8_000, 16_000, 48_000]))
def test_no_sample_passes_the_ceiling(seed: int, gain_db: float, rate: int):
    rng, hop = np.random.default_rng(seed), rate // 125
    bursts = np.repeat(rng.uniform(0, 1, 20) ** 4, hop)
    samples = (rng.normal(size=20 * hop) * bursts * 10 ** (gain_db / 20)).astype(np.float32)
    out = _limit(samples, hop)
    assert np.abs(out).max() <= np.float32(CEILING)
    assert (np.sign(out) == np.sign(samples)).all()  # nothing wraps


def test_quiet_sound_passes_bit_for_bit():
    samples = _sine(440, 16_000, 1.0, CEILING * 0.999)
    limiter = Limiter(128)
    np.testing.assert_array_equal(_limit(samples, 128, limiter), samples)
    assert limiter.limited_hops == 0


@pytest.mark.parametrize("rate", [16_000, 48_000])
@pytest.mark.parametrize(("hz", "distortion_db"), [(50, -60), (100, -100), (440, -100), (1_000, -100), (3_000, -100)])
def test_tone_of_plus_6_dbfs_stays_a_tone(rate: int, hz: int, distortion_db: float):
    out = _limit(_sine(hz, rate, 2.0, 2.0), rate // 125)[rate:].astype(np.float64)
    times = np.arange(len(out)) / rate
    basis = np.stack([np.sin(2 * np.pi * hz * times), np.cos(2 * np.pi * hz * times)], axis=1)
    tone = basis @ np.linalg.lstsq(basis, out, rcond=None)[0]
    rest = out - tone
    assert 10 * np.log10((rest @ rest) / (tone @ tone)) < distortion_db
    assert 20 * np.log10(np.abs(tone).max()) == pytest.approx(CEILING_DB, abs=0.05)


def test_gain_falls_before_a_late_peak_and_never_jumps():
    rate, hop = 48_000, 384
    samples = _sine(997, rate, 1.0, 0.5)
    samples[20 * hop + 300 : 30 * hop] *= 5.0
    out = _limit(samples, hop).astype(np.float64)
    heard = np.abs(samples) > 0.02
    gain = np.where(heard, out / np.where(heard, samples, 1), np.nan)
    gain = gain[~np.isnan(gain)]
    # 300 samples for the fall to 0.36: no step of the gain above 0.0025 except where the tone crosses zero
    assert np.abs(np.diff(gain)).max() < 0.02


def test_gain_recovers_to_exactly_one():
    hop = 128
    samples = np.concatenate([_sine(300, 16_000, 0.2, 3.0), _sine(300, 16_000, 4.0, 0.3)])
    samples = samples[: len(samples) // hop * hop]
    out = _limit(samples, hop)
    np.testing.assert_array_equal(out[-16_000:], samples[-16_000:])
    half_second_later = slice(16_000 // 2 + 3_200, 16_000 // 2 + 3_700)
    assert np.abs(out[half_second_later]).max() > 0.25  # and it takes less than a second to be near


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_broken_hop_is_silence_and_the_next_is_sound(bad: float):
    limiter = Limiter(128)
    hop = np.full(128, 0.5, np.float32)
    hop[7] = bad
    limiter.process(hop)
    assert not hop.any()
    after = np.full(128, 0.5, np.float32)
    limiter.process(after)
    np.testing.assert_array_equal(after, np.full(128, 0.5, np.float32))


def test_reset_equals_new_and_count_counts():
    limiter = Limiter(128)
    _limit(_sine(200, 16_000, 0.4, 4.0), 128, limiter)
    assert limiter.limited_hops == 50
    limiter.reset()
    samples = _sine(200, 16_000, 0.4, 0.5)
    np.testing.assert_array_equal(_limit(samples, 128, limiter), samples)


def test_nothing_grows_hop_by_hop():
    limiter, samples = Limiter(384), _sine(200, 48_000, 1.0, 2.0)
    _limit(samples, 384, limiter)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for at in range(0, len(samples), 384):
        limiter.process(samples[at : at + 384])
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 4_096
