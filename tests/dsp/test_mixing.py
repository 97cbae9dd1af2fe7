"""Dry and wet: limits of attenuation, bit-exact ends, and changes without a click."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pse_stream.dsp.mixing import RAMP_HOPS, DelayLine, Mixer, Ramp, dry_share

HOP = 128


def _noise(hops: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (hops, HOP)).astype(np.float32)


def _mix(mixer: Mixer, wet: np.ndarray, dry: np.ndarray) -> np.ndarray:
    out = np.empty_like(wet)
    for w, d, o in zip(wet, dry, out, strict=True):
        mixer.process(w.copy(), d, out=o)
    return out


@pytest.mark.parametrize("limit_db", [3.0, 6.0, 12.0, 24.0, 40.0])
def test_noise_that_the_engine_removes_falls_by_the_limit(limit_db: float):
    noise = _noise(50)
    out = _mix(Mixer(HOP, attenuation_db=limit_db), np.zeros_like(noise), noise)
    fell_db = 10 * np.log10((noise**2).sum() / (out.astype(np.float64) ** 2).sum())
    assert fell_db == pytest.approx(limit_db, abs=0.1)


@pytest.mark.parametrize("limit_db", [0.5, 12.0, 30.0])
def test_voice_that_the_engine_keeps_keeps_its_level(limit_db: float):
    voice = _noise(20)
    np.testing.assert_allclose(_mix(Mixer(HOP, attenuation_db=limit_db), voice, voice), voice, atol=1e-7)


def test_limit_0_is_the_dry_path_bit_for_bit():
    wet, dry = _noise(10, 1), _noise(10, 2)
    mixer = Mixer(HOP, attenuation_db=0.0)
    np.testing.assert_array_equal(_mix(mixer, wet, dry), dry)
    assert not mixer.needs_wet


def test_no_limit_is_the_wet_path_bit_for_bit():
    wet, dry = _noise(10, 1), _noise(10, 2)
    np.testing.assert_array_equal(_mix(Mixer(HOP, attenuation_db=100.0), wet, dry), wet)


def test_mute_is_digital_silence_and_starts_so():
    wet, dry = _noise(10, 1), _noise(10, 2)
    mixer = Mixer(HOP, attenuation_db=100.0, mute=True)
    assert not _mix(mixer, wet, dry).any()
    mixer.set(attenuation_db=100.0, bypass=False, mute=False)
    np.testing.assert_array_equal(_mix(mixer, wet, dry)[RAMP_HOPS:], wet[RAMP_HOPS:])


def test_dry_share_at_its_ends():
    assert (dry_share(0.0), dry_share(100.0), dry_share(120.0)) == (1.0, 0.0, 0.0)
    assert dry_share(20.0) == pytest.approx(0.1)


toggles = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from([0.0, 3.0, 12.0, 30.0, 100.0]), st.booleans(), st.booleans()),
    min_size=1,
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(script=toggles)
def test_toggles_at_any_moment_make_no_step(script: list[tuple[int, float, bool, bool]]):
    # Constant paths, 1 apart: every step of the output is a step of a gain. Two ramps may run at once.
    mixer, heard = Mixer(HOP, attenuation_db=30.0), []
    dry, wet, out = np.ones(HOP, np.float32), np.zeros(HOP, np.float32), np.empty(HOP, np.float32)
    mixer.process(wet, dry, out=out)
    heard.append(out.copy())
    for hops, limit_db, bypass, mute in script:
        mixer.set(attenuation_db=limit_db, bypass=bypass, mute=mute)
        for _ in range(hops):
            mixer.process(wet, dry, out=out)
            heard.append(out.copy())
    assert np.abs(np.diff(np.concatenate(heard))).max() <= 2.0 / (RAMP_HOPS * HOP) + 1e-6


@settings(max_examples=60, deadline=None)
@given(script=toggles)
def test_every_change_is_complete_after_the_ramp(script: list[tuple[int, float, bool, bool]]):
    mixer = Mixer(HOP, attenuation_db=30.0)
    wet, dry, out = _noise(1, 1)[0], _noise(1, 2)[0], np.empty(HOP, np.float32)
    for hops, limit_db, bypass, mute in script:
        mixer.set(attenuation_db=limit_db, bypass=bypass, mute=mute)
        for _ in range(hops):
            mixer.process(wet, dry, out=out)
    for _ in range(RAMP_HOPS + 1):
        mixer.process(wet, dry, out=out)
    share = 1.0 if bypass else dry_share(limit_db)
    expected = np.zeros_like(dry) if mute else share * dry + (1 - share) * wet
    np.testing.assert_allclose(out, expected, atol=1e-6)


def test_out_may_be_wet():
    wet, dry = _noise(1, 1)[0], _noise(1, 2)[0]
    apart = np.empty(HOP, np.float32)
    Mixer(HOP, attenuation_db=9.0).process(wet, dry, out=apart)
    Mixer(HOP, attenuation_db=9.0).process(wet, dry, out=wet)
    np.testing.assert_array_equal(wet, apart)


def test_ramp_takes_equal_steps_and_ends_exactly():
    ramp = Ramp(HOP, 0.0)
    ramp.aim(1.0)
    taken = np.concatenate([ramp.next().copy() for _ in range(RAMP_HOPS)])
    np.testing.assert_allclose(taken, np.arange(1, RAMP_HOPS * HOP + 1) / (RAMP_HOPS * HOP), atol=1e-6)
    assert (ramp.value, ramp.settled, ramp.next()) == (1.0, True, None)


def test_ramp_turned_back_half_way_continues_from_there():
    ramp = Ramp(HOP, 0.0)
    ramp.aim(1.0)
    half = ramp.next()[-1]
    ramp.aim(0.0)
    back = [ramp.next().copy() for _ in range(RAMP_HOPS)]
    assert half == pytest.approx(1 / RAMP_HOPS)
    assert back[0][0] == pytest.approx(half, abs=2 / HOP)
    assert (back[-1][-1], ramp.settled) == (0.0, True)


def test_ramp_aimed_where_it_stands_has_nothing_to_do():
    ramp = Ramp(HOP, 0.25)
    ramp.aim(0.25)
    assert ramp.next() is None
    ramp.aim(1.0)
    ramp.jump(0.5)
    assert (ramp.next(), ramp.value) == (None, 0.5)


@settings(max_examples=40, deadline=None)
@given(hops=st.integers(0, 7), extra=st.integers(0, 4))
def test_delay_line_gives_back_what_went_in(hops: int, extra: int):
    line, blocks = DelayLine(HOP, hops + extra), _noise(20)
    for t, block in enumerate(blocks):
        line.push(block)
        expected = blocks[t - hops] if t >= hops else np.zeros(HOP, np.float32)
        np.testing.assert_array_equal(line.tap(hops), expected)
    line.reset()
    assert not line.tap(hops).any()
