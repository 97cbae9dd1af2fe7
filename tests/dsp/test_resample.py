"""Rate conversion: tones keep their pitch, blocks do not matter, delay is what is said, two clocks without a click."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pse_stream.dsp.resample import (
    LIVE_HELD_BACK,
    Resampler,
    VariableRate,
    grid_rate,
    resampled_length,
)
from pse_stream.dsp.spec import GRID_RATES
from pse_stream.errors import SpecError

RATES = (8_000, 16_000, 22_050, 44_100, 48_000, 96_000)


def _sine(hz: float, rate: int, seconds: float) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(int(rate * seconds)) / rate)).astype(np.float32)


def _convert(resampler: Resampler, samples: np.ndarray, sizes: list[int]) -> np.ndarray:
    made, at, turn = [], 0, 0
    while at < len(samples):
        n = sizes[turn % len(sizes)]
        made.append(resampler.process(samples[at : at + n]))
        at, turn = at + n, turn + 1
    return np.concatenate([*made, resampler.flush()])


def _frequency(samples: np.ndarray, rate: int) -> float:
    """Hz of one tone: the peak of a windowed spectrum, refined by a parabola through its logarithm."""
    spectrum = np.log(np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) + 1e-12)
    k = int(spectrum.argmax())
    a, b, c = spectrum[k - 1 : k + 2]
    return float((k + 0.5 * (a - c) / (a - 2 * b + c)) * rate / len(samples))


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("in_rate", RATES)
@pytest.mark.parametrize("out_rate", RATES)
def test_tone_keeps_its_pitch_and_level(in_rate: int, out_rate: int, live: bool):
    out = _convert(Resampler(in_rate, out_rate, live=live), _sine(1_000, in_rate, 0.5), [in_rate // 125])
    middle = out[out_rate // 10 : -out_rate // 10].astype(np.float64)
    assert _frequency(middle, out_rate) == pytest.approx(1_000.0, abs=1.0)
    assert np.sqrt(2 * np.mean(middle**2)) == pytest.approx(0.5, rel=2e-3)


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize(("in_rate", "out_rate"), [(44_100, 48_000), (48_000, 44_100), (192_000, 48_000)])
def test_sample_0_stands_for_the_same_moment(in_rate: int, out_rate: int, live: bool):
    out = _convert(Resampler(in_rate, out_rate, live=live), _sine(1_000, in_rate, 0.5), [in_rate // 125])
    error = (out - _sine(1_000, out_rate, 0.5))[out_rate // 20 : -out_rate // 20]
    assert 20 * np.log10(np.sqrt(np.mean(error**2)) / 0.354) < (-95 if live else -120)


@pytest.mark.parametrize(("in_rate", "out_rate"), [(48_000, 16_000), (96_000, 48_000), (44_100, 24_000)])
def test_what_the_lower_rate_cannot_hold_is_gone(in_rate: int, out_rate: int):
    out = _convert(Resampler(in_rate, out_rate), _sine(out_rate * 0.62, in_rate, 0.5), [in_rate // 125])
    assert 20 * np.log10(np.sqrt(np.mean(out[500:-500] ** 2)) / 0.354) < -90


@settings(max_examples=30, deadline=None)
@given(
    rates=st.sampled_from([(44_100, 48_000), (48_000, 44_100), (22_050, 24_000), (96_000, 48_000), (16_000, 16_000)]),
    sizes=st.lists(st.integers(1, 2_000), min_size=1, max_size=5),
    n=st.integers(0, 6_000),
)
def test_blocks_of_a_file_do_not_matter(rates: tuple[int, int], sizes: list[int], n: int):
    samples = np.random.default_rng(n).uniform(-1, 1, n).astype(np.float32)
    whole = _convert(Resampler(*rates), samples, [max(n, 1)])
    parts = _convert(Resampler(*rates), samples, sizes)
    assert len(whole) == len(parts) == resampled_length(n, *rates)
    np.testing.assert_allclose(parts, whole, atol=2e-6)


@pytest.mark.parametrize("in_rate", RATES)
@pytest.mark.parametrize("out_rate", RATES)
def test_live_holds_back_no_more_than_it_says(in_rate: int, out_rate: int):
    resampler, given_out = Resampler(in_rate, out_rate, live=True), 0
    for t, block in enumerate(np.split(_sine(500, in_rate, 0.8)[: in_rate // 125 * 100], 100)):
        given_out += len(resampler.process(block))
        assert (t + 1) * len(block) * out_rate / in_rate - given_out <= resampler.latency_samples
    assert resampler.latency_samples / out_rate < 0.003  # 2.6 ms at 8 kHz, 0.5 ms at 48 kHz


def test_equal_rates_pass_bit_for_bit_and_never_share_memory():
    block = _sine(100, 16_000, 0.1)
    out = Resampler(16_000, 16_000).process(block)
    np.testing.assert_array_equal(out, block)
    assert not np.shares_memory(out, block)


@pytest.mark.parametrize("live", [False, True])
def test_after_flush_and_reset_comes_a_new_signal(live: bool):
    samples = _sine(700, 44_100, 0.2)
    resampler = Resampler(44_100, 48_000, live=live)
    first, second = _convert(resampler, samples, [353]), _convert(resampler, samples, [353])
    np.testing.assert_array_equal(first, second)
    resampler.process(np.ones(999, np.float32))
    resampler.reset()
    np.testing.assert_array_equal(_convert(resampler, samples, [353]), first)


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e25])
def test_broken_block_is_silence_and_counted(live: bool, bad: float):
    resampler, samples = Resampler(44_100, 48_000, live=live), _sine(700, 44_100, 0.2)
    samples[400] = bad
    out = _convert(resampler, samples, [353])
    assert np.isfinite(out).all()
    assert resampler.bad_blocks == 1
    assert np.abs(out[2_000:]).max() > 0.4


@pytest.mark.parametrize(
    ("rate", "grid"),
    [(44_100, 48_000), (22_050, 24_000), (11_025, 16_000), (96_000, 48_000), (192_000, 48_000), (6_000, 8_000)]
    + [(rate, rate) for rate in GRID_RATES],
)
def test_grid_rate_loses_nothing_up_to_48_khz(rate: int, grid: int):
    assert grid_rate(rate) == grid


@pytest.mark.parametrize("rate", [0, -48_000, 999, 10_000_000])
def test_rate_that_is_no_sound_is_refused(rate: int):
    message = f"sample rate {rate} Hz makes no sense for sound; expected 1000 to 768000 Hz"
    for make in (grid_rate, lambda r: Resampler(r, 48_000), lambda r: Resampler(48_000, r)):
        with pytest.raises(SpecError) as caught:
            make(rate)
        assert str(caught.value) == message


def _two_clocks(ratios: list[float], hz: float = 1_000.0, block: int = 384) -> tuple[np.ndarray, VariableRate]:
    """The start of a sine is soft, so that every bend of the output is the interpolator's."""
    samples = _sine(hz, 48_000, len(ratios) * block / 48_000)
    samples[:480] *= np.linspace(0, 1, 480, dtype=np.float32)
    variable = VariableRate()
    made = [variable.process(samples[k * block : (k + 1) * block], ratio).copy() for k, ratio in enumerate(ratios)]
    return np.concatenate(made), variable


def test_until_first_needed_blocks_pass_untouched():
    variable = VariableRate()
    for _ in range(5):
        block = np.random.default_rng(0).normal(size=384).astype(np.float32)
        assert variable.process(block, 1.0) is block
    assert (variable.active, variable.latency_samples) == (False, 0)


BEND = 0.5 * (2 * np.pi * 1_000 / 48_000) ** 2  # second difference of the sine at its top


@pytest.mark.parametrize("ratio", [1 + 1e-4, 1 - 1e-4, 1.005, 0.995])
def test_first_need_makes_no_click(ratio: float):
    out, variable = _two_clocks([1.0] * 7 + [ratio] * 50)
    assert variable.active
    assert np.abs(np.diff(out, 2)).max() < 1.02 * BEND
    expected = 384 * 7 + 384 * ratio * 50 - LIVE_HELD_BACK
    assert len(out) == pytest.approx(expected, abs=2.5)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), spread=st.sampled_from([1e-5, 2e-4, 5e-3]), block=st.sampled_from([128, 353, 384]))
def test_changing_ratio_loses_no_sample_and_makes_no_click(seed: int, spread: float, block: int):
    rng = np.random.default_rng(seed)
    ratios = [1.0] * 2 + list(1 + spread * np.repeat(rng.uniform(-1, 1, 20), 5))
    out, _ = _two_clocks(ratios, block=block)
    assert np.abs(np.diff(out, 2)).max() < 1.02 * BEND


@pytest.mark.parametrize(("hz", "snr_db"), [(1_000, 110), (6_000, 100), (12_000, 95)])
def test_interpolated_tone_is_clean(hz: float, snr_db: float):
    ratio = 1 - 1e-4
    out, _ = _two_clocks([ratio] * 120, hz)
    out = out[5_000:-500].astype(np.float64)
    times = np.arange(len(out)) / 48_000 / ratio
    basis = np.stack([np.sin(2 * np.pi * hz * times), np.cos(2 * np.pi * hz * times)], axis=1)
    rest = out - basis @ np.linalg.lstsq(basis, out, rcond=None)[0]
    assert 10 * np.log10((out @ out) / (rest @ rest)) > snr_db


def test_variable_rate_reset_equals_new():
    block = _sine(500, 48_000, 0.008)
    variable = VariableRate()
    for _ in range(5):
        variable.process(block, 1.001)
    variable.reset()
    assert variable.process(block, 1.0) is block
    fresh = VariableRate()
    fresh.process(block, 1.0)
    np.testing.assert_array_equal(variable.process(block, 1.0002), fresh.process(block, 1.0002))


@pytest.mark.parametrize("ratio", [0.99, 1.01, 0.0, float("nan")])
def test_ratio_of_no_two_clocks_is_refused(ratio: float):
    with pytest.raises(SpecError, match=r"is not one of two clocks; expected 1 \+- 0.005"):
        VariableRate().process(np.zeros(384, np.float32), ratio)


def test_nothing_grows_block_by_block():
    resampler, variable, block = Resampler(44_100, 48_000, live=True), VariableRate(), _sine(500, 44_100, 0.008)
    for _ in range(50):
        resampler.process(block)
        variable.process(block, 1.0001)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(300):
        resampler.process(block)
        variable.process(block, 1.0001)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 16_384
