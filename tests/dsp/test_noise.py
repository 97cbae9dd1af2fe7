"""The noise floor and its gains: the papers' equations, what a room must get, and what a voice must keep."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import exp1

from pse_stream.dsp import noise
from pse_stream.dsp.noise import Minima, NoiseSpec, OmLsa
from pse_stream.errors import SpecError

from ..reference import slow_omlsa

SPEC = NoiseSpec(n=33)


def _noise_power(hops: int, seed: int = 0, n: int = SPEC.n) -> np.ndarray:
    """|Y|^2 of stationary Gaussian noise, smoothed over two hops as overlapping frames are."""
    rng = np.random.default_rng(seed)
    bins = rng.normal(size=(hops + 1, n)) + 1j * rng.normal(size=(hops + 1, n))
    return (np.abs(bins[1:] + 0.5 * bins[:-1]) ** 2).astype(np.float32)


def _gains(power: np.ndarray, rule: OmLsa | None = None) -> np.ndarray:
    rule = rule or OmLsa(NoiseSpec(n=power.shape[1]))
    out = np.empty_like(power)
    for t, hop in enumerate(power):
        rule.process(hop, out=out[t])
    return out


def test_gains_are_those_of_the_equations():
    power = _noise_power(300, n=9)
    power[60:90] *= 300.0
    power[150:155, 3:] *= 30.0
    np.testing.assert_allclose(_gains(power), slow_omlsa.gains(power, NoiseSpec(n=9)), rtol=0.02, atol=2e-3)


def test_table_of_e1_is_within_two_hundredths_of_a_decibel():
    v = np.geomspace(noise.V_FLOOR, noise.V_CEILING, 5_000).astype(np.float32)
    out = np.empty_like(v)
    noise._HalfE1(len(v)).read(v, out=out)
    assert 20 * np.log10(np.e) * np.abs(out - 0.5 * exp1(v)).max() < 0.025


@pytest.mark.parametrize("level_db", [-60, -30, 30, 60])
def test_level_changes_nothing(level_db: float):
    power = _noise_power(200)
    power[100:130] *= 100.0
    scaled = power * np.float32(10 ** (level_db / 10))
    np.testing.assert_allclose(_gains(scaled), _gains(power), rtol=5e-3)


def test_power_of_two_changes_not_a_bit():
    power = _noise_power(200)
    np.testing.assert_array_equal(_gains(power * np.float32(2.0**-20)), _gains(power))


def test_steady_noise_falls_to_the_gain_floor():
    gains = _gains(_noise_power(500))
    fell_db = 10 * np.log10((gains[250:] ** 2 * _noise_power(500)[250:]).sum() / _noise_power(500)[250:].sum())
    assert SPEC.gain_floor_db < fell_db < SPEC.gain_floor_db + 4.0


def test_steady_noise_is_quiet_within_a_quarter_of_a_second():
    gains = _gains(_noise_power(60))
    assert np.median(20 * np.log10(gains[30:])) < SPEC.gain_floor_db + 4.0


def test_voice_30_db_above_the_noise_passes():
    power = _noise_power(400)
    power[200:230] += 1_000.0 * power.mean()
    gains = _gains(power)
    assert 20 * np.log10(gains[202:230].min()) > -1.0


def test_noise_that_becomes_louder_is_learnt_within_two_seconds():
    power = _noise_power(750)
    power[300:] *= 10.0
    gains = _gains(power)
    assert np.median(gains[305:320]) > 0.5  # at first it might be a voice
    assert np.median(20 * np.log10(gains[550:])) < SPEC.gain_floor_db + 4.0


def test_noise_that_stops_leaves_the_voice_alone():
    power = _noise_power(500)
    power[200:] *= 1e-4
    power[400:430] += 0.1 * power[:200].mean()  # 30 dB above what is left, 10 dB below what was
    assert 20 * np.log10(_gains(power)[402:430].min()) > -1.5


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), spread_db=st.floats(0, 200), level_db=st.floats(-180, 180))
def test_gains_stay_between_the_floor_and_one(seed: int, spread_db: float, level_db: float):
    rng = np.random.default_rng(seed)
    power = 10 ** ((level_db + spread_db * rng.uniform(-0.5, 0.5, (60, SPEC.n))) / 10)
    power[rng.uniform(size=power.shape) < 0.05] = 0.0
    gains = _gains(np.clip(power, 0, 1e30).astype(np.float32))
    assert gains.min() >= 10 ** (SPEC.gain_floor_db / 20) * 0.999
    assert gains.max() <= 1.0 + 1e-6


def test_reset_equals_new():
    used = OmLsa(SPEC)
    _gains(_noise_power(150, 1) * np.float32(1e4), used)
    used.reset()
    power = _noise_power(150, 2)
    np.testing.assert_array_equal(_gains(power, used), _gains(power))


def test_future_changes_nothing_before_it():
    power = _noise_power(200)
    other = power.copy()
    other[120:] *= 1e3
    np.testing.assert_array_equal(_gains(power)[:120], _gains(other)[:120])


def test_minimum_is_forgotten_after_the_window():
    minima = Minima(3)
    minima.start(np.full(3, 5.0, np.float32))
    low, high = np.full(3, 1.0, np.float32), np.full(3, 9.0, np.float32)
    minima.update(low)
    for _ in range(noise.SUBWINDOWS):
        minima.turn(high)
        assert minima.values[0] == 1.0
    minima.turn(high)
    assert minima.values[0] == 9.0


def test_nothing_grows_hop_by_hop():
    rule, power, out = OmLsa(SPEC), _noise_power(200), np.empty(SPEC.n, np.float32)
    for hop in power:
        rule.process(hop, out=out)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for hop in power:
        rule.process(hop, out=out)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 4_096


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n": 2}, "a noise floor over 2 bins was asked for; expected at least 3"),
        ({"n": 8, "floor_smoothing": 1.0}, "floor_smoothing=1.0 is out of range; expected a value between 0 and 1"),
        ({"n": 8, "prior_smoothing": 0.0}, "prior_smoothing=0.0 is out of range; expected a value between 0 and 1"),
        ({"n": 8, "absence_ceiling": 1.5}, "absence_ceiling=1.5 is out of range; expected a value between 0 and 1"),
        ({"n": 8, "sure_power": 1.0}, "sure_power=1.0 is out of range; expected a factor above 1"),
        ({"n": 8, "gain_floor_db": 0.0}, "gain_floor_db=0.0 turns nothing down; expected a value below 0"),
    ],
)
def test_bad_spec_says_what_is_wrong(wrong: dict[str, float], message: str):
    with pytest.raises(SpecError) as caught:
        NoiseSpec(**wrong)  # type: ignore[arg-type]
    assert str(caught.value) == message
