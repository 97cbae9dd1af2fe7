"""Meters, against the standards they are named after."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pse_stream.dsp.levels import FULL_SCALE, SILENCE_DB, LevelMeter, Levels, amplitude_db, k_weighting, power_db
from pse_stream.dsp.spec import STFTSpec

RATE = 48_000
HOP = RATE // 125


def _sine(hz: float, seconds: float, level_db: float, rate: int = RATE) -> np.ndarray:
    return (10 ** (level_db / 20) * np.sin(2 * np.pi * hz * np.arange(int(rate * seconds)) / rate)).astype(np.float32)


def _feed(meter: LevelMeter, samples: np.ndarray, hop: int = HOP) -> LevelMeter:
    for at in range(0, len(samples) - hop + 1, hop):
        meter.process(samples[at : at + hop])
    return meter


def _meter(rate: int = RATE) -> LevelMeter:
    return LevelMeter(STFTSpec(rate), loudness=True)


@pytest.mark.parametrize("rate", [16_000, 48_000])
@pytest.mark.parametrize("level_db", [-60.0, -18.0, -1.0])
def test_sine_reads_its_level(rate: int, level_db: float):
    levels = _feed(_meter(rate), _sine(997, 2.0, level_db, rate), rate // 125).read()
    assert levels.peak_db == pytest.approx(level_db, abs=0.05)
    assert levels.max_db == pytest.approx(level_db, abs=0.05)
    assert levels.rms_db == pytest.approx(level_db - 3.01, abs=0.05)
    assert levels.loudness == pytest.approx(level_db - 3.01, abs=0.1)  # BS.1770: 997 Hz, 0 dBFS, one channel: -3.01


def test_silence_reads_the_bottom():
    assert _feed(_meter(), np.zeros(RATE, np.float32)).read() == Levels(zero_samples=RATE)
    assert (amplitude_db(0.0), power_db(0.0), amplitude_db(1e-9)) == (SILENCE_DB, SILENCE_DB, SILENCE_DB)


def test_weighting_at_48_khz_is_the_printed_one():
    # ITU-R BS.1770-4, tables 1 and 2
    shelf = [1.53512485958697, -2.69169618940638, 1.19839281085285, 1.0, -1.69065929318241, 0.73248077421585]
    high = [1.0, -2.0, 1.0, 1.0, -1.99004745483398, 0.99007225036621]
    np.testing.assert_allclose(k_weighting(48_000), [shelf, high], atol=1e-13)


def test_loudness_hears_bass_less_and_treble_more():
    bass, middle, treble = (_feed(_meter(), _sine(hz, 2.0, -20.0)).read().loudness for hz in (40.0, 997.0, 10_000.0))
    assert bass < middle - 5.0
    assert treble == pytest.approx(middle + 3.3, abs=0.3)


def test_loudness_looks_back_400_ms():
    meter = _feed(_meter(), _sine(997, 2.0, -20.0))
    _feed(meter, np.zeros(HOP * 25, np.float32))
    assert meter.loudness == pytest.approx(-23.0 - 3.0, abs=1.1)  # half of the window; renewed every 80 ms
    _feed(meter, np.zeros(HOP * 35, np.float32))
    assert meter.loudness < -60.0


def test_rms_looks_back_304_ms():
    meter = _feed(_meter(), _sine(1_000, 1.0, -20.0))
    _feed(meter, np.zeros(HOP * 19, np.float32))
    assert meter.read().rms_db == pytest.approx(-26.0, abs=0.1)
    _feed(meter, np.zeros(HOP * 19, np.float32))
    assert meter.read().rms_db == SILENCE_DB


def test_one_sample_click_reaches_bar_and_mark_whenever_it_is_read():
    meter = _meter()
    click = np.zeros(HOP, np.float32)
    click[-5] = -0.5
    meter.process(click)
    _feed(meter, np.zeros(HOP * 12, np.float32))  # 96 ms: a display at 10 Hz looks only now
    levels = meter.read()
    assert levels.peak_db == pytest.approx(-6.02, abs=0.01)
    assert levels.mark_db == pytest.approx(-6.02, abs=0.01)
    assert levels.clips == 0


def test_bar_falls_20_db_in_1_7_seconds():
    meter = _feed(_meter(), _sine(1_000, 0.2, 0.0))
    _feed(meter, np.zeros(int(1.7 * RATE), np.float32))
    meter.read()
    _feed(meter, np.zeros(HOP, np.float32))
    assert meter.read().peak_db == pytest.approx(-20.0, abs=0.3)  # the standard: 1.7 +- 0.3 s


def test_mark_holds_and_then_falls_20_db_a_second():
    meter = _feed(_meter(), _sine(1_000, 0.2, 0.0))
    _feed(meter, np.zeros(int(1.4 * RATE), np.float32))
    meter.read()
    assert _feed(meter, np.zeros(HOP, np.float32)).read().mark_db == pytest.approx(0.0, abs=0.01)
    _feed(meter, np.zeros(int(1.1 * RATE), np.float32))
    meter.read()
    assert _feed(meter, np.zeros(HOP, np.float32)).read().mark_db == pytest.approx(-20.0, abs=0.6)


def test_maximum_stays_until_cleared():
    meter = _feed(_meter(), _sine(1_000, 0.2, -3.0))
    _feed(meter, np.zeros(RATE * 4, np.float32))
    assert meter.read().max_db == pytest.approx(-3.0, abs=0.05)
    meter.clear()
    assert meter.read().max_db == SILENCE_DB


def _slow_clips(samples: np.ndarray) -> int:
    runs, length = 0, 0
    for sample in samples:
        length = length + 1 if abs(sample) >= np.float32(FULL_SCALE) else 0
        runs += length == 3
    return runs


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31), share=st.sampled_from([0.05, 0.5, 0.9, 0.99, 1.0]))
def test_clips_are_runs_of_three_wherever_hops_begin(seed: int, share: float):
    rng = np.random.default_rng(seed)
    samples = np.where(rng.uniform(size=64 * 6) < share, rng.choice([-1.0, 1.0], 64 * 6), 0.3).astype(np.float32)
    meter = _feed(_meter(8_000), samples, 64)
    assert meter.clips == _slow_clips(samples)


def test_16_bit_full_scale_is_full_scale():
    samples = np.zeros(HOP, np.float32)
    samples[10:13] = 32_767 / 32_768
    assert _feed(_meter(), samples).clips == 1
    samples[10:13] = 32_766 / 32_768
    assert _feed(_meter(), samples).clips == 0


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31), live=st.integers(0, 300))
def test_zeros_in_a_row_up_to_now(seed: int, live: int):
    rng = np.random.default_rng(seed)
    samples = np.zeros(64 * 5, np.float32)
    samples[:live] = rng.choice([0.0, 1e-9, -0.1], live)
    nonzero = np.flatnonzero(samples)
    expected = len(samples) - 1 - nonzero[-1] if len(nonzero) else len(samples)
    assert _feed(_meter(8_000), samples, 64).read().zero_samples == expected


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e25])
def test_broken_hop_counts_as_silence(bad: float):
    meter = _meter()
    hop = np.full(HOP, 0.5, np.float32)
    hop[3] = bad
    meter.process(hop)
    assert meter.read() == Levels(zero_samples=HOP)
    levels = _feed(meter, _sine(997, 1.0, -20.0)).read()
    assert levels.loudness == pytest.approx(-23.0, abs=0.2)


def test_reset_equals_new():
    meter = _feed(_meter(), np.ones(RATE, np.float32))
    meter.reset()
    samples = _sine(300, 1.0, -30.0)
    assert _feed(meter, samples).read() == _feed(_meter(), samples).read()


def test_nothing_grows_hop_by_hop():
    meter, samples = _meter(), _sine(300, 1.0, 3.0)
    _feed(meter, samples)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    _feed(meter, samples)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 4_096
