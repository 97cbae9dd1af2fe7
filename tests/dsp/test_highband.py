"""Above 8 kHz: what an engine does not touch stays, what it silences is silent, hiss falls and a voice remains."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pse_stream.dsp.clues import N_CLUES
from pse_stream.dsp.highband import HEAD, JUDGED, LEAST_GAIN, Head, HighBand, read_head
from pse_stream.dsp.spec import ENGINE_BINS, GRID_RATES, STFTSpec
from pse_stream.dsp.stft import transform
from pse_stream.errors import SpecError

WIDE_RATES = [rate for rate in GRID_RATES if rate > 16_000]
seeds = st.integers(0, 2**32 - 1)


def _frames(rate: int, hops: int, seed: int = 0, *, level: float = 0.1) -> np.ndarray:
    """White noise."""
    rng = np.random.default_rng(seed)
    spec = STFTSpec(rate)
    return transform(rng.normal(0.0, level, hops * spec.hop).astype(np.float32), spec)[:hops]


def _fill(rate: int, noisy: np.ndarray, clean: np.ndarray, stage: HighBand | None = None) -> np.ndarray:
    """What becomes of every frame's bins above 8 kHz."""
    stage = stage or HighBand(STFTSpec(rate))
    out = np.zeros_like(noisy)
    for frame, low, made in zip(noisy, clean, out, strict=True):
        stage.process(frame, low, out=made)
    return out[:, ENGINE_BINS:]


def _energy_db(made: np.ndarray, given: np.ndarray) -> float:
    return float(10 * np.log10((np.abs(made) ** 2).sum() / (np.abs(given) ** 2).sum()))


def _voice(seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Vowels (harmonics that fall by 12 dB per octave) and hisses of 4 to 14 kHz in turn, with rests: 48 kHz."""
    n = int(seconds * 48_000)
    t = np.arange(n) / 48_000
    vowel = sum(np.sin(2 * np.pi * 140.0 * k * t + k) / k**2 for k in range(1, 60))
    spectrum, hz = np.fft.rfft(rng.normal(size=n)), np.fft.rfftfreq(n, 1 / 48_000)
    hiss = np.fft.irfft(np.where((hz > 4000) & (hz < 14_000), spectrum, 0.0), n)
    beat = (t / 0.4) % 1.0
    sounds = 0.1 * vowel * (beat > 0.45) * (beat < 0.85) + 0.05 * hiss * (beat > 0.15) * (beat < 0.45)
    return sounds.astype(np.float32)


@pytest.mark.parametrize("rate", [8_000, 16_000])
def test_where_there_is_no_high_band_nothing_is_written(rate: int):
    spec = STFTSpec(rate)
    out = np.full(spec.n_bins, 7.0, np.complex64)
    stage = HighBand(spec)
    stage.process(np.ones(spec.n_bins, np.complex64), np.ones(ENGINE_BINS, np.complex64), out=out)
    stage.reset()
    assert (out == 7.0).all()


@pytest.mark.parametrize("rate", WIDE_RATES)
def test_only_the_bins_above_8_khz_are_written(rate: int):
    noisy = _frames(rate, 1)[0]
    out = np.full_like(noisy, 7.0)
    HighBand(STFTSpec(rate)).process(noisy, np.zeros(ENGINE_BINS, np.complex64), out=out)
    assert (out[:ENGINE_BINS] == 7.0).all()


@settings(max_examples=15, deadline=None)
@given(seed=seeds, rate=st.sampled_from(WIDE_RATES), level=st.floats(-60.0, 0.0))
def test_what_an_engine_does_not_touch_stays_bit_for_bit(seed: int, rate: int, level: float):
    noisy = _frames(rate, 8, seed, level=10 ** (level / 20))
    np.testing.assert_array_equal(_fill(rate, noisy, noisy[:, :ENGINE_BINS]), noisy[:, ENGINE_BINS:])


@settings(max_examples=10, deadline=None)
@given(seed=seeds, rate=st.sampled_from(WIDE_RATES))
def test_what_an_engine_silences_is_silent(seed: int, rate: int):
    noisy = _frames(rate, 8, seed)
    assert not _fill(rate, noisy, np.zeros((8, ENGINE_BINS), np.complex64)).any()


@settings(max_examples=15, deadline=None)
@given(seed=seeds, rate=st.sampled_from(WIDE_RATES), louder_db=st.floats(-60.0, 60.0), kept=st.floats(0.02, 1.0))
def test_the_level_does_not_matter(seed: int, rate: int, louder_db: float, kept: float):
    noisy = _frames(rate, 40, seed)
    factor = np.float32(10 ** (louder_db / 20))
    clean = noisy[:, :ENGINE_BINS] * np.float32(kept)
    quiet, loud = _fill(rate, noisy, clean), _fill(rate, noisy * factor, clean * factor)
    np.testing.assert_allclose(loud, quiet * factor, rtol=2e-3, atol=float(1e-4 * factor))


@settings(max_examples=25, deadline=None)
@given(
    powers=st.lists(st.sampled_from([0.0, 1e-30, 1e-12, 1e-3, 1.0, 1e6, 1e18, 3e19]), min_size=6, max_size=6),
    kept=st.lists(st.sampled_from([0.0, 1e-8, 1e-3, 0.5, 1.0, 4.0]), min_size=6, max_size=6),
)
def test_it_stays_finite_and_never_amplifies(powers: list[float], kept: list[float]):
    stage = HighBand(STFTSpec(48_000))
    noise = _frames(48_000, 6, level=1.0)
    for frame, power, share in zip(noise, powers, kept, strict=True):
        noisy = frame * np.float32(power)
        out = np.zeros_like(noisy)
        stage.process(noisy, noisy[:ENGINE_BINS] * np.float32(share), out=out)
        assert np.isfinite(out.view(np.float32)).all()
        assert (np.abs(out) <= np.abs(noisy) * 1.000001).all()
    after = _fill(48_000, noise, noise[:, :ENGINE_BINS] * np.float32(0.3), stage)  # and goes on
    assert np.isfinite(after.view(np.float32)).all()


def test_reset_is_like_new():
    noisy = _frames(48_000, 60)
    clean = noisy[:, :ENGINE_BINS] * np.float32(0.2)
    stage = HighBand(STFTSpec(48_000))
    first = _fill(48_000, noisy, clean, stage)
    stage.reset()
    np.testing.assert_array_equal(_fill(48_000, noisy, clean, stage), first)


def test_the_frame_may_be_filled_in_place():
    noisy = _frames(48_000, 30)
    clean = noisy[:, :ENGINE_BINS] * np.float32(0.2)
    wanted = _fill(48_000, noisy, clean)
    stage = HighBand(STFTSpec(48_000))
    for frame, low in zip(noisy, clean, strict=True):
        stage.process(frame, low, out=frame)
    np.testing.assert_array_equal(noisy[:, ENGINE_BINS:], wanted)


@pytest.mark.parametrize("rate", WIDE_RATES)
@pytest.mark.parametrize("left_db", [-18.0, -30.0])
def test_hiss_over_a_silenced_room_falls(rate: int, left_db: float):
    noisy = _frames(rate, 250, level=0.01)
    high = _fill(rate, noisy, noisy[:, :ENGINE_BINS] * np.float32(10 ** (left_db / 20)))
    assert _energy_db(high[125:], noisy[125:, ENGINE_BINS:]) < -15.0


def test_hiss_falls_between_the_words_of_a_cleaned_voice():
    rng = np.random.default_rng(3)
    voice, spec = _voice(4.0, rng), STFTSpec(48_000)
    s = transform(voice, spec)
    n = transform(rng.normal(0.0, 0.004, len(voice)).astype(np.float32), spec)
    s_power, n_power = (np.abs(x[:, :ENGINE_BINS]) ** 2 for x in (s, n))
    clean = (s + n)[:, :ENGINE_BINS] * np.maximum(s_power / (s_power + n_power), 0.05)
    high = _fill(48_000, s + n, clean.astype(np.complex64))
    hops = np.arange(len(s)) * 0.008 / 0.4 % 1.0
    later = np.arange(len(s)) > 125
    speaking, resting = later & (hops > 0.26) & (hops < 0.42), later & ((hops > 0.97) | (hops < 0.12))
    assert _energy_db(high[resting], (s + n)[resting, ENGINE_BINS:]) < -10.0
    assert _energy_db(high[speaking], s[speaking, ENGINE_BINS:]) > -3.0


def test_a_clean_wide_voice_keeps_its_treble():
    rng = np.random.default_rng(4)
    voice, spec = _voice(4.0, rng), STFTSpec(48_000)
    s = transform(voice + rng.normal(0.0, 2e-5, len(voice)).astype(np.float32), spec)
    power = np.abs(s[:, :ENGINE_BINS]) ** 2
    clean = s[:, :ENGINE_BINS] * np.maximum(power / (power + 1e-4), 0.05)
    high = _fill(48_000, s, clean.astype(np.complex64))
    assert _energy_db(high, s[:, ENGINE_BINS:]) > -1.0


def test_a_head_gives_gains():
    rng = np.random.default_rng(0)
    head, out = Head(), np.zeros(JUDGED, np.float32)
    for _ in range(20):
        head.now[:] = rng.normal(-5.0, 8.0, N_CLUES)
        head.process(out=out)
        assert (out >= LEAST_GAIN - 1e-6).all()
        assert (out <= 1.0 + 1e-6).all()


def test_a_head_of_another_version_is_refused(tmp_path: Path):
    with np.load(HEAD) as file:
        arrays = dict(file)
    np.savez(tmp_path / "head.npz", **(arrays | {"band": arrays["band"][:, :-1]}))
    with pytest.raises(SpecError, match=r"head\.npz holds arrays"):
        read_head(tmp_path / "head.npz")
