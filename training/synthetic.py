"""Noises that are computed instead of recorded: coloured and modulated noise, hum, tones, clicks.

Recordings are few; these carry much of the variety. Every function returns float32 of about unit RMS.
Deliberately absent: levels (see `simulate`) and anything that needs a recording.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from pse_stream.training.corpus import SAMPLE_RATE

Float32s = NDArray[np.float32]
_HUM_HZ = (50.0, 60.0)  # mains frequencies of the world


def unit_rms(audio: Float32s) -> Float32s:
    """`audio` scaled to RMS 1; silence stays silence."""
    rms = np.sqrt(np.mean(np.square(audio)))
    return audio / rms if rms > 1e-8 else audio


def smooth_curve(rng: np.random.Generator, n_bins: int, *, spread_db: float, points: int = 8) -> Float32s:
    """A random linear gain curve over `n_bins`, smooth on a logarithmic frequency axis."""
    knots = np.concatenate([[0.0], np.geomspace(60.0, 8000.0, points - 1)])
    gain_db = rng.uniform(-spread_db, spread_db, points)
    hz = np.linspace(0.0, 8000.0, 513)
    curve = np.interp(np.log(hz + 60.0), np.log(knots + 60.0), gain_db)
    coarse = 10.0 ** (curve / 20.0)
    return np.interp(np.linspace(0.0, 512.0, n_bins), np.arange(513), coarse).astype(np.float32)


def coloured(rng: np.random.Generator, n: int) -> Float32s:
    """Stationary noise with a random slope and a random smooth spectrum: fans, air, hiss."""
    size = fft.next_fast_len(n, real=True)
    spectrum = fft.rfft(rng.standard_normal(size, np.float32))
    hz = np.linspace(0.0, 8000.0, len(spectrum), dtype=np.float32)
    spectrum *= (hz + 40.0) ** np.float32(rng.uniform(-1.2, 0.3))  # amplitude slope: brown-ish to bluish
    spectrum *= smooth_curve(rng, len(spectrum), spread_db=12.0)
    return unit_rms(fft.irfft(spectrum, size)[:n].astype(np.float32))


def modulated(rng: np.random.Generator, n: int) -> Float32s:
    """Coloured noise whose level wanders or beats: wind, waves, engines, crowds far away."""
    knots = max(int(n / SAMPLE_RATE * rng.uniform(0.5, 12.0)), 3)
    depth_db = rng.uniform(3.0, 20.0)
    envelope_db = np.interp(np.linspace(0, knots - 1, n), np.arange(knots), rng.uniform(-depth_db, 0.0, knots))
    return unit_rms(coloured(rng, n) * (10.0 ** (envelope_db / 20.0)).astype(np.float32))


def hum(rng: np.random.Generator, n: int) -> Float32s:
    """Mains hum or a motor: harmonics of one slowly drifting fundamental over a noise bed."""
    base = rng.choice(_HUM_HZ) if rng.random() < 0.5 else np.exp(rng.uniform(np.log(25.0), np.log(400.0)))
    time = np.arange(n, dtype=np.float32) / SAMPLE_RATE
    drift = 1.0 + rng.uniform(0.0, 0.02) * np.sin(2 * np.pi * rng.uniform(0.05, 0.5) * time + rng.uniform(0, 6.28))
    phase = 2 * np.pi * np.cumsum(base * drift / SAMPLE_RATE)
    slope = rng.uniform(0.3, 1.5)
    total = np.zeros(n, np.float32)
    for k in range(1, int(min(24, 7500.0 / base)) + 1):
        if rng.random() < 0.7:
            total += np.sin(k * phase + rng.uniform(0, 6.28)).astype(np.float32) * np.float32(rng.random() / k**slope)
    return unit_rms(unit_rms(total) + np.float32(rng.uniform(0.02, 0.5)) * coloured(rng, n))


def tones(rng: np.random.Generator, n: int) -> Float32s:
    """Beeps, rings and alarms: tones that start, stop and glide."""
    total = np.zeros(n, np.float32)
    place = int(rng.uniform(0, 0.5) * SAMPLE_RATE)
    period = rng.uniform(0.1, 1.5)
    pitch = np.exp(rng.uniform(np.log(200.0), np.log(5000.0)))
    while place < n:
        length = min(int(rng.uniform(0.3, 0.9) * period * SAMPLE_RATE), n - place)
        if length > 64:
            time = np.arange(length) / SAMPLE_RATE
            glide = rng.choice([0.0, 0.0, rng.uniform(-1.0, 1.0)])
            phase = 2 * np.pi * pitch * (time + 0.5 * glide * time**2)
            beep = np.sin(phase) + rng.uniform(0, 0.5) * np.sin(2 * phase) + rng.uniform(0, 0.3) * np.sin(3 * phase)
            fade = np.minimum(1.0, np.minimum(np.arange(length), np.arange(length)[::-1]) / 80.0)
            total[place : place + length] += (beep * fade).astype(np.float32)
        place += int(period * SAMPLE_RATE)
        if rng.random() < 0.3:
            pitch = np.clip(pitch * rng.uniform(0.6, 1.6), 150.0, 6000.0)
    return unit_rms(total)


def clicks(rng: np.random.Generator, n: int) -> Float32s:
    """Impulses: keys, clatter, drips; short decaying bursts of filtered noise at random times."""
    total = np.zeros(n, np.float32)
    rate = np.exp(rng.uniform(np.log(0.5), np.log(12.0)))
    decay = rng.uniform(0.002, 0.04) * SAMPLE_RATE
    length = min(int(6 * decay), n)
    kinds = [coloured(rng, length) * np.exp(-np.arange(length, dtype=np.float32) / np.float32(decay)) for _ in range(4)]
    for place in rng.uniform(0, n, rng.poisson(rate * n / SAMPLE_RATE) + 1).astype(int):
        burst = kinds[rng.integers(4)][: n - place] * np.float32(10 ** rng.uniform(-1.0, 0.0))
        total[place : place + len(burst)] += burst
    return unit_rms(total)


GENERATORS: tuple[Callable[[np.random.Generator, int], Float32s], ...] = (coloured, modulated, hum, tones, clicks)


def any_noise(rng: np.random.Generator, n: int) -> Float32s:
    """One of the generators, drawn evenly."""
    return GENERATORS[rng.integers(len(GENERATORS))](rng, n)
