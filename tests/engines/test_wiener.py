"""The classic engine on sounds made here: noise falls, a voice stays, level and past do not matter."""

from __future__ import annotations

import numpy as np
import pytest

from pse_stream.dsp.spec import STFTSpec
from pse_stream.dsp.stft import inverse, transform
from pse_stream.engines.contract import Engine
from pse_stream.engines.wiener import WienerEngine

RATE = 16_000
SPEC = STFTSpec(RATE)


def _voice(seconds: float = 4.0, seed: int = 0) -> np.ndarray:
    """Syllables of 250 ms with pauses: a gliding harmonic tone under two formants, -26 dBFS while it sounds."""
    rng, n = np.random.default_rng(seed), int(seconds * RATE)
    times = np.arange(n) / RATE
    pitch = 120 + 30 * np.sin(2 * np.pi * 0.7 * times)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    wave = np.zeros(n)
    for harmonic in range(1, 30):
        hz = 120 * harmonic
        weight = np.exp(-((hz - 500) ** 2) / 3e5) + 0.4 * np.exp(-((hz - 1_700) ** 2) / 4e5) + 0.02
        wave += weight * np.sin(harmonic * phase + rng.uniform(0, 6))
    syllable = np.maximum(0.0, np.sin(2 * np.pi * 2.0 * (times - 0.3))) ** 0.5 * (times > 0.3)
    wave *= syllable
    return (wave * 0.05 / np.sqrt(np.mean(wave[syllable > 0.1] ** 2))).astype(np.float32)


def _noise(seconds: float = 4.0, seed: int = 1) -> np.ndarray:
    return (0.0125 * np.random.default_rng(seed).normal(size=int(seconds * RATE))).astype(np.float32)


def _enhance(samples: np.ndarray, engine: Engine | None = None) -> np.ndarray:
    engine, frames = engine or WienerEngine(), transform(samples, SPEC)
    for frame in frames:
        engine.step(frame, frame, 0)
    return inverse(frames, SPEC, len(samples))


def _si_sdr(estimate: np.ndarray, target: np.ndarray) -> float:
    e, t = estimate.astype(np.float64), target.astype(np.float64)
    scaled = t * (e @ t) / (t @ t)
    return float(10 * np.log10((scaled @ scaled) / ((e - scaled) @ (e - scaled))))


@pytest.mark.parametrize(("snr_db", "gain_db"), [(-5, 5.0), (0, 5.0), (5, 4.0), (10, 2.5), (15, 1.0)])
def test_voice_in_steady_noise_gets_clearer_at_every_snr(snr_db: float, gain_db: float):
    voice, noise = _voice(), _noise()
    noise *= np.sqrt((voice @ voice) / (noise @ noise)) * 10 ** (-snr_db / 20)
    noisy = voice + noise
    assert _si_sdr(_enhance(noisy), voice) > _si_sdr(noisy, voice) + gain_db


def test_steady_noise_alone_falls_by_more_than_12_db():
    noise = _noise()
    out = _enhance(noise)[RATE:]
    assert 10 * np.log10(np.mean(noise[RATE:] ** 2) / np.mean(out**2)) > 12.0


def test_clean_voice_stays_what_it_is():
    voice = _voice() + _noise() * np.float32(0.003)  # the hiss of a converter, 60 dB down
    assert _si_sdr(_enhance(voice), voice) > 25.0


@pytest.mark.parametrize("level_db", [-30, 30])
def test_level_changes_the_level_only(level_db: float):
    noisy = _voice(2.0) + _noise(2.0)
    gain = np.float32(10 ** (level_db / 20))
    np.testing.assert_allclose(_enhance(noisy * gain), _enhance(noisy) * gain, atol=2e-3 * float(gain) * 0.05)


def test_power_of_two_changes_not_a_bit():
    noisy = _voice(2.0) + _noise(2.0)
    np.testing.assert_array_equal(_enhance(noisy * np.float32(32.0)), _enhance(noisy) * np.float32(32.0))


def test_digital_silence_in_between_teaches_nothing():
    engine, noise = WienerEngine(), _noise(2.0)
    _enhance(noise, engine)
    frame = np.zeros(257, np.complex64)
    for _ in range(500):  # four seconds of a muted microphone
        engine.step(frame, frame, 0)
        assert not frame.any()
    again = _enhance(_noise(0.4, 5), engine)
    assert 10 * np.log10(np.mean(_noise(0.4, 5)[800:] ** 2) / np.mean(again[800:] ** 2)) > 12.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e25])
def test_broken_frame_is_silence_and_leaves_no_trace(bad: float):
    frames = transform(_noise(1.0), SPEC)
    engine, twin, out, expected = WienerEngine(), WienerEngine(), *np.zeros((2, 257), np.complex64)
    for t, frame in enumerate(frames):
        if t == 60:
            broken = frame.copy()
            broken[100] = bad
            engine.step(broken, out, 0)
            assert not out.any()
        engine.step(frame, out, 0)
        twin.step(frame, expected, 0)
        np.testing.assert_array_equal(out, expected)
    assert (engine.bad_frames, twin.bad_frames) == (1, 0)


def test_fork_shares_nothing():
    engine = WienerEngine()
    _enhance(_noise(1.0), engine)
    noisy = _voice(1.0) + _noise(1.0)
    np.testing.assert_array_equal(_enhance(noisy, engine.fork()), _enhance(noisy))
